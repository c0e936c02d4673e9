"""A run that is stopped anywhere and resumed is the run left alone, and says when it is over."""

import json
import os
import signal
import time

import numpy as np
import pytest
import torch
from lightning import Callback
from lightning.pytorch.callbacks import LearningRateMonitor

from bidnn.data import loaders
from bidnn.data.store import PairStore
from bidnn.errors import StoppedError, UserError
from bidnn.model.finishing import EmbeddingConfig
from bidnn.model.outputs import OutputConfig
from bidnn.model.saved import load_bundle, run_checkpoint
from bidnn.training import signals
from bidnn.training.fit import fit
from bidnn.training.optimizers import SgdConfig
from bidnn.training.signals import held_back, taken_over
from bidnn.training.sums import Sums
from tests.training.fitting import run, settings

LOGGER = "bidnn.training.loggers.Csv"


@pytest.fixture
def store():
    generator = np.random.default_rng(0)
    hidden = generator.normal(size=(60, 2))
    first = np.tanh(hidden @ generator.normal(size=(2, 3))).astype(np.float32)
    second = np.tanh(hidden @ generator.normal(size=(2, 4))).astype(np.float32)
    return PairStore(first, second, np.ones((60, 2), dtype=bool))


@pytest.fixture(autouse=True)
def _signals_are_heard_at_once(monkeypatch):
    monkeypatch.setattr(signals, "GRACE_S", 0.0)
    monkeypatch.setattr(signals, "SAME_S", 0.0)
    monkeypatch.setattr(signals, "_deaf_until", 0.0)


def best(folder, **more):
    kind = "lightning.pytorch.callbacks.ModelCheckpoint"
    return {
        "best": {
            "_target_": kind,
            "dirpath": str(folder / "checkpoints"),
            "filename": "best",
            "monitor": "val/loss",
            "enable_version_counter": False,
            "save_on_train_epoch_end": True,
            **more,
        }
    }


def early(patience=2, monitor="val/loss", **more):
    kind = "bidnn.training.callbacks.early_stopping.StopEarly"
    return {"early_stopping": {"_target_": kind, "monitor": monitor, "patience": patience, **more}}


def config(folder, epochs=6, *, callbacks=None, output=None, resume=False, **more):
    made = settings(
        epochs,
        val_fraction=0.2,
        run_dir=str(folder),
        optimizer=SgdConfig(lr=0.3),
        output=OutputConfig(path=str(folder / "out_%e.npz"), **(output or {})),
        **more,
    )
    made.callbacks, made.resume = callbacks or {}, resume
    made.logger = {
        "csv": {"_target_": LOGGER, "save_dir": str(folder), "name": "", "version": "csv"}
    }
    return made


class Stop(Callback):
    """Stops a training by a signal, as `kill` would, in an epoch, or in the final output."""

    by_chunks = True

    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch + 1 == self.epoch:
            os.kill(os.getpid(), signal.SIGTERM)

    def on_result(self, trainer, module):
        if self.epoch is None:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10.0)


def stopped_and_resumed(store, folder, epoch, **more):
    with pytest.raises(StoppedError, match="stopped by SIGTERM"):
        run(store, config(folder, **more), callbacks=[Stop(epoch)])
    assert not (folder / "metrics.json").exists()
    return run(store, config(folder, resume=True, **more))


def results(folder):
    """All that a run leaves to its user, by name."""
    kept = [*folder.glob("out_*.npz"), folder / "metrics.json", folder / "csv" / "metrics.csv"]
    return {path.name: path.read_bytes() for path in kept}


def best_of(folder):
    content = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
    return content["epoch"], {k: v.tolist() for k, v in content["state_dict"].items()}


@pytest.mark.parametrize("epoch", [1, 3, 6, None])
def test_a_run_stopped_at_any_stage_leaves_the_same_results_and_rows(store, tmp_path, epoch):
    alone, other = tmp_path / "alone", tmp_path / "other"
    command = {"every_n_epochs": 2, "command": "echo '{\"score\": 0.5}'"}
    run(store, config(alone, output=command, callbacks=best(alone)))
    stopped_and_resumed(store, other, epoch, output=command, callbacks=best(other))
    assert results(other) == results(alone)
    assert best_of(other) == best_of(alone)
    assert "train/loss" in json.loads((other / "metrics.json").read_text())


def test_a_finished_run_that_is_resumed_says_so_and_changes_nothing(store, tmp_path, caplog):
    caplog.set_level("INFO")
    first = run(store, config(tmp_path, callbacks=best(tmp_path)))
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.rglob("*") if p.is_file()}
    caplog.clear()
    again = fit(config(tmp_path, callbacks=best(tmp_path), resume=True), store)
    assert "finished, after 6 epochs and 36 steps; nothing is left to do" in caplog.text
    assert again.metrics == first.fitted.metrics
    after = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.rglob("*") if p.is_file()}
    assert after == before
    for own, kept in zip(again.model.parameters(), first.weights, strict=True):
        torch.testing.assert_close(own, kept, rtol=0, atol=0)
    longer = run(store, config(tmp_path, 7, callbacks=best(tmp_path), resume=True))
    assert longer.trainer.current_epoch == 7


def test_a_run_of_a_version_that_had_a_setting_less_is_gone_on_with(store, tmp_path):
    alone = run(store, config(tmp_path / "alone", 8))
    run(store, config(tmp_path / "before", 6))
    last = tmp_path / "before" / "checkpoints" / "last.ckpt"
    saved = torch.load(last, weights_only=True)
    del saved["run"]["settings"]["embedding.stacked"]
    del saved["hyper_parameters"]["embedding"]["stacked"]
    torch.save(saved, last)
    longer = run(store, config(tmp_path / "before", 8, resume=True))
    for own, expected in zip(longer.weights, alone.weights, strict=True):
        torch.testing.assert_close(own, expected, rtol=0, atol=0)
    stacked = config(tmp_path / "before", 9, resume=True, embedding=EmbeddingConfig(stacked=True))
    with pytest.raises(UserError, match=r"begun with embedding\.stacked=false; set that"):
        run(store, stacked)


def test_a_finished_run_of_which_a_metric_is_not_a_number_is_finished_too(store, tmp_path):
    """metrics.json has null for it."""
    run(store, config(tmp_path))
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "map": None}))
    found = fit(config(tmp_path, resume=True), store).metrics
    assert np.isnan(found["map"])
    assert np.isfinite(found["train/loss"])


def test_a_run_that_had_stopped_early_does_not_train_on(store, tmp_path, caplog):
    caplog.set_level("INFO")
    alone, other = tmp_path / "alone", tmp_path / "other"
    more = {"epochs": 60, "callbacks": early(min_delta=10.0)}
    epochs = run(store, config(alone, **more)).trainer.current_epoch
    assert epochs == 3
    resumed = stopped_and_resumed(store, other, None, **more)
    assert resumed.trainer.current_epoch == epochs
    assert results(other) == results(alone)
    before = results(other)
    fit(config(other, resume=True, **more), store)
    assert "finished, after 3 epochs" in caplog.text
    assert results(other) == before
    patient = {"epochs": 60, "callbacks": early(patience=4, min_delta=10.0)}
    assert run(store, config(other, resume=True, **patient)).trainer.current_epoch == 5


@pytest.mark.parametrize("epoch", [3, 4, 5, 7])
def test_early_stopping_by_a_commands_metric_goes_on_between_intervals(store, tmp_path, epoch):
    more = {
        "epochs": 20,
        "output": {"every_n_epochs": 3, "command": "echo '{\"score\": 0.5}'"},
        "callbacks": early(monitor="score", mode="max", first_epoch=3),
    }
    resumed = stopped_and_resumed(store, tmp_path, epoch, **more)
    assert resumed.trainer.current_epoch == 9  # the first value at 3, two more that are no better
    assert resumed.trainer.callback_metrics["score"] == 0.5


def test_the_best_checkpoint_has_seen_the_epoch_that_a_signal_ended(store, tmp_path):
    alone, other = tmp_path / "alone", tmp_path / "other"
    run(store, config(alone, callbacks=best(alone)))
    epoch = best_of(alone)[0] + 1
    with pytest.raises(StoppedError):
        run(store, config(other, callbacks=best(other)), callbacks=[Stop(epoch)])
    assert best_of(other) == best_of(alone)


def test_no_best_checkpoint_of_an_earlier_run_stays_beside_the_last(store, tmp_path, caplog):
    run(store, config(tmp_path, 2, callbacks=best(tmp_path)))
    earlier = load_bundle(run_checkpoint(tmp_path)).network.state_dict()
    assert "earlier run" not in caplog.text
    later = run(store, config(tmp_path, 3, seed=1)).fitted.model
    line = "holds checkpoints of an earlier run, which those of this run replace; resume=auto goes"
    assert caplog.text.count(line) == 1
    found = load_bundle(run_checkpoint(tmp_path))
    assert all(map(torch.equal, found.network.parameters(), later.network.parameters()))
    run(store, config(tmp_path, 2, callbacks=best(tmp_path)))
    again = load_bundle(run_checkpoint(tmp_path)).network.state_dict()
    assert all(torch.equal(values, again[name]) for name, values in earlier.items())
    caplog.clear()
    run(store, config(tmp_path, 4, callbacks=best(tmp_path), resume=True))
    assert "earlier run" not in caplog.text


@pytest.mark.parametrize(
    ("key", "value"),
    [("gradient_clip_val", 1e-5), ("accumulate_grad_batches", 3), ("limit_train_batches", 2)],
)
def test_steps_are_not_gone_on_with_in_another_way(store, tmp_path, key, value):
    before = {"gradient_clip_val": 1.0}
    run(store, config(tmp_path, 1, trainer=before))
    was = json.dumps(before.get(key))
    with pytest.raises(UserError, match=rf"begun with trainer\.{key}={was}; set that, or start"):
        run(store, config(tmp_path, 2, trainer={**before, key: value}, resume=True))
    run(store, config(tmp_path, 2, trainer=before, resume=True))


def test_that_a_signal_came_is_no_warning_of_what_the_run_has_become(store, tmp_path):
    found = stopped_and_resumed(store, tmp_path, 3)
    assert not any("SIGTERM" in line for line in found.fitted.history.warnings)


def test_what_others_log_is_in_the_history_by_epoch(store, tmp_path):
    class Logs(Callback):
        by_chunks = True

        def on_train_epoch_end(self, trainer, pl_module):
            pl_module.log("mine/epoch", float(trainer.current_epoch))

        def on_validation_epoch_end(self, trainer, pl_module):
            pl_module.log("mine/held", 10.0 + trainer.current_epoch)

    found = run(store, config(tmp_path, 3), callbacks=[Logs()]).fitted
    columns = found.history.columns()
    assert columns["mine/epoch"] == [0.0, 1.0, 2.0]
    assert columns["mine/held"] == [10.0, 11.0, 12.0]
    assert found.metrics["mine/epoch"] == 2.0


def test_a_checkpoint_is_gone_on_with_under_its_own_settings_only(store, tmp_path):
    class Killed(Callback):
        by_chunks = True

        def on_train_start(self, trainer, pl_module):
            raise KeyError("killed before its first checkpoint")

    run(store, config(tmp_path, seed=1))
    with pytest.raises(KeyError):
        run(store, config(tmp_path, seed=2), callbacks=[Killed()])
    with pytest.raises(UserError, match="begun with seed=1; set that, or start anew"):
        run(store, config(tmp_path, 9, seed=2, resume=True))
    assert run(store, config(tmp_path, 9, seed=1, resume=True)).trainer.current_epoch == 9
    (tmp_path / "checkpoints" / "last.ckpt").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"last\.ckpt: no readable checkpoint"):
        run(store, config(tmp_path, 10, seed=1, resume=True))


def test_a_run_stopped_within_an_epoch_goes_on_in_the_same_chunks_only(
    store, tmp_path, monkeypatch
):
    class StopWithin(Callback):
        by_chunks = True

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if trainer.current_epoch == 1 and batch_idx == 0:
                os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(loaders, "CHUNK_BATCHES", 2)
    with pytest.raises(StoppedError):
        run(store, config(tmp_path), callbacks=[StopWithin()])
    monkeypatch.setattr(loaders, "CHUNK_BATCHES", 3)
    with pytest.raises(UserError, match="epoch of chunks of 2 batches, and this one would take 3"):
        run(store, config(tmp_path, resume=True))
    monkeypatch.setattr(loaders, "CHUNK_BATCHES", 2)
    assert run(store, config(tmp_path, 2, resume=True)).trainer.current_epoch == 2
    monkeypatch.setattr(loaders, "CHUNK_BATCHES", 3)  # between two epochs it is all the same
    assert run(store, config(tmp_path, 3, resume=True)).trainer.current_epoch == 3


@pytest.mark.parametrize("callbacks", [(), (LearningRateMonitor(),)], ids=["chunks", "one by one"])
@pytest.mark.parametrize("chunk", [64, 4])
def test_a_run_cut_short_within_an_epoch_goes_on_where_it_was(
    store, tmp_path, monkeypatch, chunk, callbacks
):
    monkeypatch.setattr(loaders, "CHUNK_BATCHES", chunk)

    def trained(folder, steps, *, resume=False):
        made = config(folder, -1, resume=resume, trainer={"max_steps": steps})
        return run(store, made, callbacks=callbacks)  # six steps an epoch

    alone = trained(tmp_path / "alone", 17)
    assert trained(tmp_path / "cut", 3).trainer.current_epoch == 1
    for steps in (5, 11, 12, 17):
        found = trained(tmp_path / "cut", steps, resume=True)
        assert found.trainer.global_step == steps
    assert found.trainer.current_epoch == alone.trainer.current_epoch == 3
    assert all(map(torch.equal, found.weights, alone.weights))
    assert found.fitted.metrics == alone.fitted.metrics
    assert found.fitted.history.epochs == alone.fitted.history.epochs


def test_an_epoch_that_was_cut_short_does_not_count(store, tmp_path):
    def of(steps, **more):
        return config(tmp_path, 1, trainer={"max_steps": steps}, **more)

    assert run(store, of(4)).trainer.global_step == 4
    assert run(store, of(99, resume=True)).trainer.global_step == 6
    assert not fit(of(99, resume=True), store).changed


def test_the_sums_of_an_epoch_go_on_where_the_steps_are_taken():
    sums = Sums({"names": ["loss"], "steps": torch.tensor([[[1.0, 8.0], [2.0, 8.0]]])})
    sums.add(["loss"], torch.ones(1, 1, device="meta"), rows=8)
    assert sums.state(lambda own: own)["steps"].device.type == "meta"
    assert sums.state(lambda own: own)["steps"].shape == (3, 2)


def test_the_sums_of_an_epoch_are_kept_of_all_processes():
    losses = ([0.0, 1.0, 2.0], [10.0, 11.0, 12.0])
    steps = [torch.tensor(own)[:, None] for own in losses]
    both = [Sums(), Sums()]
    for own, taken in zip(both, steps, strict=True):
        own.add(["loss"], taken, rows=2)
    parts = [torch.cat(own._parts) for own in both]
    state = both[0].state(lambda own: torch.stack([own, parts[1]]))
    device = torch.device("cpu")
    expected = [own.take(device).tolist() for own in both]
    assert [Sums(state, (rank, 2)).take(device).tolist() for rank in (0, 1)] == expected
    assert Sums(state, (0, 1)).take(device).tolist() == [2 * (0 + 1 + 2 + 10 + 11 + 12), 12.0]
    assert Sums(state, (2, 3)).take(device).tolist() == [0.0, 0.0]


def test_a_signal_held_back_is_dealt_with_when_the_block_has_ended():
    seen = []
    with taken_over(lambda number: seen.append((number, bool(done)))):
        done = []
        with held_back():
            signal.raise_signal(signal.SIGTERM)
            assert not seen
            done.append(True)
        assert seen == [(signal.SIGTERM, True)]
        time.sleep(0.6)  # sooner, another would be taken for the same one
        signal.raise_signal(signal.SIGTERM)
    assert len(seen) == 2
