"""What a training says where Lightning would say nothing, or too much."""

import logging

import lightning.pytorch.callbacks as stock
import pytest

from bidnn.errors import UserError
from tests.training.fitting import run, settings


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
