"""What a training tells of itself, tenth by tenth, and that telling changes nothing."""

import numpy as np
import pytest
import torch

from bidnn.data.store import PairStore
from bidnn.training.callbacks.tell import TellObjective
from tests.training.fitting import run, settings


@pytest.fixture(scope="module")
def store():
    generator = np.random.default_rng(0)
    hidden = generator.normal(size=(60, 3)).astype(np.float32)
    parts = [hidden @ generator.normal(size=(3, size)).astype(np.float32) for size in (5, 6)]
    return PairStore(*parts, np.ones((60, 2), dtype=bool))


@pytest.mark.parametrize(
    ("epochs", "steps", "parts"),
    [(20, -1, list(range(1, 10))), (4, -1, [2, 5, 7]), (-1, 35, [2, 4, 6, 8]), (100, 7, [])],
)
def test_it_tells_after_each_tenth_of_epochs_or_steps_but_the_last(store, epochs, steps, parts):
    told = []
    tell = TellObjective("agreement", lambda part, value: told.append((part, value)))
    run(store, settings(epochs, trainer={"max_steps": steps}), [tell])
    assert [part for part, _ in told] == parts
    assert all(np.isfinite(value) for _, value in told)


@pytest.mark.parametrize("objective", ["agreement", "explained/first_to_second", "val/loss"])
def test_it_tells_what_a_training_of_that_length_ends_with_and_changes_nothing(store, objective):
    told = []
    tell = TellObjective(objective, lambda part, value: told.append((part, value)))
    watched = run(store, settings(10, val_fraction=0.4), [tell])
    alone = run(store, settings(10, val_fraction=0.4))
    short = run(store, settings(5, val_fraction=0.4))
    assert dict(told)[5] == short.fitted.metrics[objective]
    assert watched.fitted.metrics == alone.fitted.metrics
    for one, other in zip(watched.weights, alone.weights, strict=True):
        assert torch.equal(one, other)
    assert not watched.data.one_by_one


def test_what_it_raises_ends_the_training(store):
    def stop(part, value):
        raise RuntimeError(f"after {part}")

    with pytest.raises(RuntimeError, match="after 1"):
        run(store, settings(10), [TellObjective("agreement", stop)])
