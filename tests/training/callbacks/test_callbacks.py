"""What happens beside a training."""

import logging
import sys
from dataclasses import replace
from types import ModuleType
from typing import ClassVar

import numpy as np
import pytest
import torch
from lightning import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from tqdm.auto import tqdm

from bidnn import BiDNN
from bidnn.architecture import Activation, NetworkConfig
from bidnn.data.store import PairStore
from bidnn.errors import CommandFailedError, UserError
from bidnn.evaluation.retrieval import mean_average_precision
from bidnn.model.model import Model
from bidnn.model.outputs import OnFailure, OutputConfig
from bidnn.model.scaling import ScalingConfig, ScalingKind
from bidnn.training.callbacks import progress
from bidnn.training.callbacks.collapse import CollapseCheck, unreachable
from bidnn.training.callbacks.early_stopping import StopEarly
from bidnn.training.callbacks.progress import Progress
from bidnn.training.callbacks.report import Report, report
from bidnn.training.callbacks.run_command import RunCommand
from bidnn.training.callbacks.write_model import WriteModel
from bidnn.training.callbacks.write_outputs import WriteOutputs
from bidnn.training.optimizers import SgdConfig
from tests.training.fitting import run, settings


@pytest.fixture
def store():
    generator = np.random.default_rng(0)
    hidden = generator.normal(size=(48, 2))
    first = np.tanh(hidden @ generator.normal(size=(2, 3))).astype(np.float32)
    second = np.tanh(hidden @ generator.normal(size=(2, 4))).astype(np.float32)
    labels = np.array(["a", "b"] * 24)
    return PairStore(first, second, np.ones((48, 2), dtype=bool), labels, "rows")


def fit(store, callbacks, epochs=3, lr=0.1, scaling=ScalingKind.none, **more):
    config = settings(
        epochs,
        batch_size=16,
        network={"hdn": 8},
        scaling=ScalingConfig(kind=scaling),
        optimizer=SgdConfig(lr=lr),
        **more,
    )
    return run(store, config, callbacks=callbacks).trainer


def test_embedding_model_and_command_follow_each_other_at_the_interval_and_at_the_end(
    store, tmp_path, caplog
):
    config = OutputConfig(
        path=str(tmp_path / "out_%e.npz"),
        every_n_epochs=2,
        command=f"ls {tmp_path} | tr '\\n' ' '; test -e {{output}} && echo there %e",
    )
    with caplog.at_level(logging.INFO):
        fit(
            store,
            [
                WriteOutputs(store, config),
                WriteModel(str(tmp_path / "model_%e.npz"), config),
                RunCommand(config),
            ],
        )
    printed = [record.message for record in caplog.records if record.message.startswith("| ")]
    assert printed == [
        "| model_00002.npz out_00002.npz there 00002",
        "| model_00002.npz model_final.npz out_00002.npz out_final.npz there final",
    ]


def test_labels_that_the_output_cannot_hold_are_refused_before_the_training(store, tmp_path):
    odd = replace(store, labels=np.array(["a", "two words"] * 24))
    with pytest.raises(ValueError, match=r"row 1: the label 'two words' cannot be .* \.npz, which"):
        WriteOutputs(odd, OutputConfig(path=str(tmp_path / "out.txt")))
    WriteOutputs(odd, OutputConfig(path=str(tmp_path / "out.npz")))


def test_an_interval_whose_name_will_be_too_long_is_refused_before_the_training(store, tmp_path):
    name = "%e" + "x" * 231 + ".npz"  # with five digits it fits, with six it does not
    config = OutputConfig(path=str(tmp_path / name), every_n_epochs=1)
    with pytest.raises(OSError, match=r"000000xxx.*too long"):
        fit(store, [WriteOutputs(store, config)], epochs=1_000_000)


@pytest.mark.parametrize("error", [ValueError("odd"), IndexError("no such row"), OSError("full")])
def test_whatever_an_output_raises_the_training_goes_on_to_the_last_checkpoint(
    store, tmp_path, monkeypatch, caplog, error
):
    def broken(*_):
        raise error

    monkeypatch.setattr("bidnn.training.callbacks.write_outputs.write_output", broken)
    output = OutputConfig(path=str(tmp_path / "out.npz"), every_n_epochs=1)
    with pytest.raises(type(error), match=str(error)):
        fit(store, [], output=output, run_dir=str(tmp_path))
    assert caplog.text.count("the training goes on") == 3
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"] == 3


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_command_that_stops_the_training_leaves_the_checkpoint_of_its_epoch(
    store, tmp_path, epochs
):
    output = OutputConfig(
        path=str(tmp_path / "out.npz"),
        every_n_epochs=1,
        command="exit 3",
        on_failure=OnFailure.stop,
    )
    with pytest.raises(CommandFailedError, match="exited with status 3"):
        fit(store, [], epochs=epochs, output=output, run_dir=str(tmp_path))
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"] == 1


def test_a_command_is_not_run_for_an_output_that_could_not_be_written(store, tmp_path, caplog):
    ran = tmp_path / "ran"
    config = OutputConfig(path=str(tmp_path / "x.npz"), every_n_epochs=1, command=f"touch {ran}")
    fit(store, [RunCommand(config)])
    assert "x.npz is not there, so that output.command is not run" in caplog.text
    assert not ran.exists()


def test_a_failing_command_warns_or_stops(store, tmp_path, caplog):
    (tmp_path / "x.npz").touch()
    config = OutputConfig(path=str(tmp_path / "x.npz"), every_n_epochs=1, command="exit 3")
    trainer = fit(store, [RunCommand(config)])
    assert trainer.current_epoch == 3
    assert "output.command exited with status 3; training goes on" in caplog.text
    config.on_failure = OnFailure.stop
    with pytest.raises(CommandFailedError, match=r"exited with status 3; output\.on_failure=warn"):
        fit(store, [RunCommand(config)])


def test_the_commands_figures_stop_a_training_that_no_longer_improves(store, tmp_path):
    (tmp_path / "x.npz").touch()
    config = OutputConfig(
        path=str(tmp_path / "x.npz"), every_n_epochs=3, command="echo '{\"score\": 0.5}'"
    )
    stopping = StopEarly("score", mode="max", patience=2, first_epoch=3)
    trainer = fit(store, [RunCommand(config), stopping], epochs=20)
    assert trainer.current_epoch == 9  # the first value at 3, two more that are no better
    assert trainer.callback_metrics["score"] == 0.5


def test_patience_counts_validations_where_not_every_epoch_has_one(store):
    stopping = StopEarly("val/loss", patience=2, min_delta=100.0)
    more = {"val_fraction": 0.25, "trainer": {"check_val_every_n_epoch": 2}}
    trainer = fit(store, [stopping], epochs=20, **more)
    assert trainer.current_epoch == 6  # the first value at 2, two more that are no better


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "no rows are held out; set data.val_fraction=0.1"),
        ({"val_fraction": 0.25, "trainer": {"limit_val_batches": 0}}, "limit_val_batches=0"),
        (
            {"val_fraction": 0.25, "trainer": {"check_val_every_n_epoch": 9}},
            "beyond the last epoch",
        ),
    ],
)
def test_a_loss_that_nobody_measures_is_not_watched_in_silence(store, tmp_path, more, said):
    best = ModelCheckpoint(tmp_path, "best", monitor="val/loss")
    with pytest.raises(UserError, match=f"ModelCheckpoint watches val/loss, and .*{said}"):
        fit(store, [best], **more)


def test_what_a_caller_from_python_could_set_is_named_as_he_sets_it(store, tmp_path):
    net = BiDNN(epochs=1, verbosity=0, data__val_fraction=0.0)
    best = ModelCheckpoint(tmp_path, "best", monitor="val/loss")
    with pytest.raises(
        UserError, match=r'held out; set data__val_fraction="0\.1", or let it watch'
    ):
        net.fit(store.first, store.second, callbacks=[best])


def test_random_weights_and_zeros_are_told_of(store, tmp_path, caplog):
    output = OutputConfig(path=str(tmp_path / "out.npz"))
    fit(store, [], epochs=0, output=output)
    assert "nothing is trained, and no checkpoint is given" in caplog.text
    assert "every value is zero" not in caplog.text
    caplog.clear()

    class Dead(Callback):
        def on_train_end(self, trainer, pl_module):
            for values in pl_module.model.network.parameters():
                values.data.zero_()

    fit(store, [Dead()], output=output)
    assert "out.npz: every value is zero" in caplog.text
    assert "random weights" not in caplog.text


def test_a_metric_that_does_not_come_is_an_error_not_a_training_that_never_stops(store):
    with pytest.raises(ValueError, match="by scroe: no such metric; there are learning_rate"):
        fit(store, [StopEarly("scroe", first_epoch=2)])


def test_targets_out_of_reach_are_told_with_the_setting_that_fixes_it(store, caplog):
    fit(store, [CollapseCheck()], scaling=ScalingKind.standard)
    assert "of the first modality's values lie outside what tanh can output" in caplog.text
    assert "model.output_activation=linear, or scaling=minmax" in caplog.text
    caplog.clear()
    fit(store, [CollapseCheck()], scaling=ScalingKind.minmax)
    assert "can never be learned" not in caplog.text
    linear = Model(3, 4, NetworkConfig(hdn=8, rep=4, output_activation=Activation.linear))
    assert unreachable(linear, store, np.arange(48)) == []
    sigmoid = Model(3, 4, NetworkConfig(hdn=8, rep=4, output_activation=Activation.sigmoid))
    below = (store.first < 0).mean()
    assert unreachable(sigmoid, store, np.arange(48))[0].startswith(f"{below:.1%} of the first")


def test_identical_outputs_for_all_rows_are_reported(store, caplog):
    class Kill(CollapseCheck):
        def on_train_epoch_end(self, trainer, pl_module):
            with torch.no_grad():
                pl_module.model.network.first_to_second.output.weight.zero_()
            super().on_train_epoch_end(trainer, pl_module)

    fit(store, [Kill()], epochs=1)
    assert "epoch 1: every row gets the same second modality" in caplog.text
    assert "same first modality" not in caplog.text


def test_there_is_no_report_over_a_single_label(store, caplog, capsys):
    caplog.set_level(logging.INFO)
    fit(replace(store, labels=np.full(48, "0")), [Report()], epochs=1)
    assert "no table of mAP by label: every row has the label 0" in caplog.text
    assert "mAP" not in capsys.readouterr().out
    fit(store, [Report()], epochs=1)
    assert "mAP" in capsys.readouterr().out


def test_the_report_leaves_out_rows_without_a_label(store, caplog, capsys):
    caplog.set_level(logging.INFO)
    labels = np.where(np.arange(48) % 4 == 0, "nan", store.labels)
    there = Report()
    fit(replace(store, labels=labels), [there], epochs=1)
    assert "mAP by label leaves out 12 of 48 rows, without one" in caplog.text
    known = np.arange(48) % 4 != 0
    raw = np.concatenate(store.take(slice(None)), axis=1)
    expected = mean_average_precision(raw[known], store.labels[known])
    assert there.metrics["map/raw"] == pytest.approx(expected)
    capsys.readouterr()
    fit(replace(store, labels=np.full(48, "nan")), [Report()], epochs=1)
    assert "leaves out 48 of 48 rows" in caplog.text
    assert "mAP" not in capsys.readouterr().out


def test_the_report_compares_raw_vectors_with_both_strategies_where_something_is_missing(store):
    torch.manual_seed(0)
    model = Model(3, 4, NetworkConfig(hdn=8, rep=4)).eval()
    assert [key for key, _, _ in report(model, store)] == ["raw", "embedding"]
    found = report(model, store.drop(0.5, 0))
    assert [key for key, _, _ in found] == ["raw", "duplicate", "translate"]
    assert all(0 < value < 1 for _, _, value in found)


def test_the_bar_counts_epochs_and_shows_the_losses(store, capsys):
    bar = Progress(refresh_s=0)
    bar.interval = 0
    fit(store, [bar], epochs=4, val_fraction=0.25)
    printed = capsys.readouterr().err
    assert "4/4 epochs" in printed
    assert "train/loss=" in printed
    assert "val/loss=" in printed


@pytest.mark.parametrize(
    ("module", "interval"), [("ipykernel.zmqshell", 0.5), ("no_notebook", 30.0)]
)
def test_a_notebook_is_drawn_to_as_often_as_a_terminal_and_a_file_seldom(
    monkeypatch, module, interval
):
    monkeypatch.setitem(sys.modules, module, ModuleType(module))
    assert not sys.stderr.isatty()
    assert Progress().interval == interval


class Widget(tqdm):
    """As tqdm's in a notebook, which is red if it is closed short of its end."""

    container = "of the parts of the widget"
    closed: ClassVar[list] = []

    def close(self):
        if not self.disable:
            self.closed.append((self.n, self.total))
        super().close()


def test_a_widget_of_a_training_that_ended_early_is_not_red(store, monkeypatch):
    monkeypatch.setattr(progress, "tqdm", Widget)

    class Stop(Callback):
        def on_train_epoch_end(self, trainer, _):
            trainer.should_stop = trainer.current_epoch == 1

    fit(store, [Progress(), Stop()], epochs=9)
    assert Widget.closed == [(2, 2)]
    Widget.closed.clear()

    class Fail(Callback):
        def on_train_epoch_end(self, *_):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fit(store, [Progress(), Fail()], epochs=9)
    assert Widget.closed == [(1, 9)]


def test_the_bar_does_not_pass_its_end_where_steps_are_taken_one_by_one(store):
    bar, places = Progress(), []

    class Watch(Callback):
        def on_train_batch_end(self, trainer, *_):
            places.append(bar._bar.n)

    fit(store, [bar, Watch()], epochs=49)
    assert places == [epoch + part / 3 for epoch in range(49) for part in (1, 2, 3)]


def test_losses_are_logged_by_direction_and_stage(store):
    figures = fit(store, [], val_fraction=0.25).callback_metrics
    for stage in ("train", "val"):
        to_second, to_first = (
            float(figures[f"{stage}/{name}"]) for name in ("first_to_second", "second_to_first")
        )
        expected = (4 * to_second + 3 * to_first) / 7
        assert float(figures[f"{stage}/loss"]) == pytest.approx(expected, rel=1e-5)
    assert float(figures["learning_rate"]) == pytest.approx(0.1)
