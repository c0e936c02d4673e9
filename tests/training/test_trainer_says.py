"""What a training says where Lightning would say nothing, or too much."""

import logging

import lightning.pytorch.callbacks as stock
import numpy as np
import pytest
from lightning import Callback

from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.training.advice import PYTHON
from bidnn.training.fit import fit as fit_settings
from bidnn.training.optimizers import SgdConfig
from tests.training.fitting import run, settings, trained


@pytest.mark.parametrize("name", ["simple", "advanced"])
def test_a_profiler_reports_in_the_folder_and_without_one_in_the_log(store, tmp_path, caplog, name):
    caplog.set_level(logging.INFO)
    run(store, settings(1, trainer={"profiler": name, "default_root_dir": str(tmp_path)}))
    file = tmp_path / f"fit-{name}.txt"
    assert f"trainer.profiler={name}: reports to {file}" in caplog.text
    assert "run_training_batch" in file.read_text()
    said = logging.getLogger("lightning.pytorch.profilers")
    said.addHandler(caplog.handler)  # what is below Lightning's own logger need not reach the root
    try:
        run(store, settings(1, trainer={"profiler": name}))
    finally:
        said.removeHandler(caplog.handler)
    assert "run_training_batch" in caplog.text


@pytest.mark.parametrize("at_the_end", [None, True, False])
def test_lightnings_early_stopping_by_a_metric_that_nobody_logs_is_refused(store, at_the_end):
    stop = stock.EarlyStopping("val/los", check_on_train_epoch_end=at_the_end)
    with pytest.raises(
        UserError, match=r"^early stopping by val/los: no such metric; there are .*val/loss"
    ):
        run(store, settings(2, val_fraction=0.2), callbacks=[stop])
    lenient = stock.EarlyStopping("val/los", strict=False)
    found = run(store, settings(2, val_fraction=0.2), callbacks=[lenient])
    assert found.trainer.global_step == 10


def test_another_error_within_lightnings_early_stopping_stays_what_it_is(store):
    class Own(stock.EarlyStopping):
        def on_train_epoch_end(self, *_):
            raise RuntimeError("own")

    with pytest.raises(RuntimeError, match=r"^own$"):
        run(store, settings(1, val_fraction=0.2), callbacks=[Own("val/los")])


class Looks(Callback):
    """At single batches."""

    def on_train_batch_start(self, *_):
        pass


def test_the_log_says_which_loop_runs_and_why(store, caplog):
    with caplog.at_level("INFO"):
        trained(store)
        trained(store, callbacks=[Looks()], trainer={"gradient_clip_val": 1.0})
    said = [line for line in caplog.messages if line.startswith("steps ")]
    assert said == [
        "steps in chunks of 64, since nothing looks at single ones",
        "steps one by one, by Lightning's own loop: trainer.gradient_clip_val, Looks looks at them",
    ]


def test_rows_that_do_not_belong_together_are_reported_in_the_callers_words(caplog):
    generator = np.random.default_rng(0)
    hidden = generator.normal(size=(200, 2)).astype("f4")
    first = np.tanh(hidden @ generator.normal(size=(2, 5)).astype("f4"))
    second = np.tanh(hidden @ generator.normal(size=(2, 6)).astype("f4"))
    present = np.ones((200, 2), bool)
    more = {"network": {"hdn": 32, "rep": 16}, "val_fraction": 0.2, "batch_size": 16}
    good = trained(PairStore(first, second, present), epochs=40, **more)
    assert good.fitted.metrics["explained/first_to_second"] > 0.5
    assert "no better than the mean" not in caplog.text
    shuffled = PairStore(first, second[generator.permutation(200)], present)
    trained(shuffled, epochs=40, **more)
    assert "shuffled pairs" in caplog.text
    assert "by heart: embedding.stacked=true takes less of it then" in caplog.text
    caplog.clear()
    slow = settings(3, optimizer=SgdConfig(lr=1e-9), **more)
    fit_settings(slow, PairStore(first + 1, second + 1, present), words=PYTHON)
    assert "a larger lr may help" in caplog.text
