"""The solved diffusion head: against dense formulas, and what it must do for any rows."""

import numpy as np
import pytest
import torch

from bidnn.architecture import NetworkConfig
from bidnn.data.store import PairStore
from bidnn.data.taught import Taught
from bidnn.errors import UserError
from bidnn.model.description import build_model, describe_model
from bidnn.model.finishing import EmbeddingConfig, Space
from bidnn.model.fitting import fit_embedding
from bidnn.model.model import Model
from bidnn.model.readout import Readout, best_weights
from bidnn.model.ridge import LEAST, STRENGTHS, Moments


def sums_of(inputs, targets):
    """Counted in two blocks."""
    sums = Moments(inputs.shape[1], targets.shape[1])
    for block in np.array_split(np.arange(len(inputs)), 2):
        sums.add(torch.from_numpy(inputs[block]), torch.from_numpy(targets[block]))
    return sums


@pytest.mark.parametrize("noise", [0.1, 3.0])
def test_ridge_is_that_of_the_least_cross_validated_error(noise):
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(80, 6)) * [4, 2, 1, 1, 0.5, 0.1] + 1
    targets = inputs @ generator.normal(size=(6, 3)) + noise * generator.normal(size=(80, 3)) + 2
    means, level = inputs.mean(axis=0), targets.mean(axis=0)
    centred = inputs - means
    tried = []
    for share in STRENGTHS:
        strength = share * np.trace(centred.T @ centred) / 6
        inverse = np.linalg.inv(centred.T @ centred + strength * np.eye(6))
        hat = centred @ inverse @ centred.T + 1 / 80
        error = ((targets - hat @ targets) ** 2).sum()
        found = inverse @ centred.T @ targets
        tried.append((error / (1 - np.trace(hat) / 80) ** 2, found))
    best = min(range(len(tried)), key=lambda number: tried[number][0])
    found = sums_of(inputs, targets).ridge().numpy()
    np.testing.assert_allclose(found[:-1], tried[best][1], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found[-1], level - means @ tried[best][1], rtol=1e-6)
    assert (best > 0) == (noise > 1)  # noise asks for more


def test_sums_less_a_map_are_those_of_what_it_leaves():
    generator = np.random.default_rng(1)
    inputs, targets = generator.normal(size=(40, 4)), generator.normal(size=(40, 2))
    known = generator.normal(size=(5, 2))
    left = targets - inputs @ known[:-1] - known[-1]
    found, expected = sums_of(inputs, targets).less(torch.from_numpy(known)), sums_of(inputs, left)
    torch.testing.assert_close(found.products, expected.products)
    torch.testing.assert_close(found.crossed, expected.crossed)
    assert found.squares == pytest.approx(expected.squares)


def test_few_rows_correct_nothing():
    generator = np.random.default_rng(2)
    rows = [generator.normal(size=(LEAST - 1, size)) for size in (4, 8, 6)]
    readout = Readout(4, 6)
    readout.solve(sums_of(rows[0], rows[2]), sums_of(rows[0], rows[2]), sums_of(rows[1], rows[2]))
    assert not readout.singles.any()
    assert not readout.joint.any()


def solved_model():
    torch.manual_seed(0)
    config = NetworkConfig(hdn=12, rep=8, diffusion=True)
    return Model(5, 7, config, embedding=EmbeddingConfig(space=Space.diffusion, solved=True)).eval()


def rows_of(count=300):
    """What both modalities say a part of; the last rows are not known, as if held out."""
    generator = np.random.default_rng(3)
    hidden = generator.normal(size=(count, 4)).astype(np.float32)
    sides = [hidden[:, :3], hidden[:, 1:]]
    parts = [
        np.tanh(side @ generator.normal(size=(3, size)) / 2).astype(np.float32)
        for side, size in zip(sides, (5, 7), strict=True)
    ]
    targets = (hidden @ generator.normal(size=(4, 8))).astype(np.float32)
    targets[-20:] = 0.0
    present = np.ones((count, 2), dtype=bool)
    present[::3, 0], present[1::3, 1] = False, False
    return PairStore(*parts, present), targets


def test_a_solved_head_is_nearer_to_its_targets_whatever_a_row_has():
    model, (store, targets) = solved_model(), rows_of()
    first, second = (torch.from_numpy(part) for part in store.take(slice(None)))
    present = torch.from_numpy(store.present)
    known = torch.from_numpy(targets)

    def error():
        with torch.no_grad():
            found = model.embed(first, second, present) * 8**0.5
        missed = (found - known)[:-20].square().mean(dim=1).numpy()
        kinds = present[:-20].numpy() @ [1, 2]
        return [float(missed[kinds == kind].mean()) for kind in (1, 2, 3)]

    before = error()
    fit_embedding(model, store, store.complete, Taught(np.arange(300), targets))
    after = error()
    assert all(new < 0.7 * old for new, old in zip(after, before, strict=True))
    assert after[2] < 0.7 * min(after[:2])  # both modalities tell more than either
    # The rows without targets had no say.
    assert model.finish.readout is not None
    kept = {name: values.clone() for name, values in model.finish.readout.named_buffers()}
    changed = PairStore(store.first.copy(), store.second.copy(), store.present)
    changed.first[-20:] = 5.0
    fit_embedding(model, changed, changed.complete, Taught(np.arange(300), targets))
    for name, values in model.finish.readout.named_buffers():
        torch.testing.assert_close(values, kept[name], rtol=0.0, atol=0.0)


def test_weights_are_the_best_that_are_not_negative():
    generator = np.random.default_rng(5)
    guesses = [torch.from_numpy(generator.normal(size=(30, 4))) for _ in range(3)]
    truth = 0.6 * guesses[0] - 0.4 * guesses[1] + 1.2 * guesses[2]
    found = best_weights(guesses, truth)
    columns = np.stack([guesses[number].numpy().ravel() for number in (0, 2)], axis=1)
    expected = np.linalg.lstsq(columns, truth.numpy().ravel(), rcond=None)[0]
    assert found[1] == 0.0
    np.testing.assert_allclose(found[[0, 2]], expected)


@pytest.mark.parametrize(("share", "clear"), [(0.02, False), (0.5, True)])
def test_other_weights_must_be_clearly_better(share, clear):
    generator = np.random.default_rng(5)
    guesses = [torch.from_numpy(generator.normal(size=(30, 4))) for _ in range(3)]
    noise = torch.from_numpy(generator.normal(size=(30, 4)))
    found = best_weights(guesses, 2 * guesses[2] + share * guesses[0] + noise / 2)
    assert (found.tolist() != [0.0, 0.0, 1.0]) == clear


def test_a_weighed_head_predicts_the_sum_from_both_and_each_alone_as_before():
    generator = torch.Generator().manual_seed(6)

    def drawn(*size):
        return torch.randn(size, generator=generator)

    readout, place = Readout(3, 5), torch.nn.Linear(3, 5)
    readout.singles.copy_(drawn(2, 4, 5))
    readout.joint.copy_(drawn(7, 5))
    centres = [drawn(9, 3), drawn(9, 3)]
    predicted = [place(centre).detach() for centre in centres]
    shown = [
        torch.tensor(kind).expand(9, 2) for kind in ([True, False], [False, True], [True, True])
    ]
    before = [readout(centres, predicted, said) for said in shown]
    head = torch.cat([place.weight.T, place.bias[None]]).detach()
    readout.weigh(np.array([0.7, 0.1, 0.4]), head)
    after = [readout(centres, predicted, said) for said in shown]
    torch.testing.assert_close(after[:2], before[:2], rtol=0.0, atol=0.0)
    torch.testing.assert_close(after[2], 0.7 * before[0] + 0.1 * before[1] + 0.4 * before[2])


def test_held_out_rows_tell_what_was_learned_by_heart():
    """The second modality says everything of rows that train, and nothing of others."""
    model, (store, targets) = solved_model(), rows_of()
    second = np.random.default_rng(7).normal(size=(300, 7)).astype(np.float32)
    rows, held = np.arange(60), np.arange(60, 160)
    second[rows] = targets[rows, :7] / 5
    store = PairStore(store.first, second, np.ones((300, 2), dtype=bool))
    first, second = (torch.from_numpy(part) for part in store.take(slice(160, 280)))

    def error():
        with torch.no_grad():
            found = model.embed(first, second, torch.ones(120, 2, dtype=torch.bool)) * 8**0.5
        return float((found - torch.from_numpy(targets[160:280])).square().mean())

    fit_embedding(model, store, rows, Taught(rows, targets))
    by_heart = error()
    fit_embedding(model, store, rows, Taught(rows, targets, held))
    weighed = error()
    fit_embedding(model, store, rows, Taught(rows, targets, held[: LEAST - 1]))
    assert error() == by_heart  # too few to say
    assert weighed < 0.9 * by_heart


def test_a_row_that_says_nothing_is_zero():
    model, (store, targets) = solved_model(), rows_of()
    fit_embedding(model, store, store.complete, Taught(np.arange(300), targets))
    first, second = torch.zeros(2, 5), torch.ones(2, 7)
    present = torch.tensor([[True, False], [False, False]])
    assert not model.embed(first, second, present).any()


def test_a_description_from_before_heads_were_solved_is_of_one_that_is_not():
    described = describe_model(solved_model())
    assert build_model(described).finish.config.solved
    del described["embedding"]["solved"]
    assert not build_model(described).finish.config.solved


def test_only_the_diffusion_head_is_solved():
    with pytest.raises(UserError, match=r"embedding\.solved=true .*embedding=diffusion"):
        EmbeddingConfig(solved=True)
