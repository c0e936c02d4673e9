"""Landmarks in a training: found once, whoever averages, stops, or trains on other rows."""

import os
import signal

import numpy as np
import pytest
import torch
from lightning import Callback
from lightning.pytorch.callbacks import EMAWeightAveraging

from bidnn.data.store import PairStore
from bidnn.errors import StoppedError
from bidnn.losses import LossConfig
from bidnn.model.description import build_model, describe_model
from bidnn.model.finishing import Centring, EmbeddingConfig, Space
from bidnn.model.fitting import fit_embedding, solve_translations, weigh_translations
from bidnn.model.landmarks import Landmarks
from bidnn.model.saved import load_bundle
from bidnn.training.callbacks.explained import explained_variance, found_again
from bidnn.training.fit import known_warnings_left_out
from bidnn.training.history import SELDOM
from bidnn.training.starting import pair_data
from tests.training.fitting import run, settings

CHECKPOINTS = "bidnn.training.callbacks.checkpoints.Checkpoints"


@pytest.fixture(autouse=True)
def one_thread():
    """As a training this small has: with others, sums are rounded otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def found(monkeypatch):
    """The numbers of rows that landmarks were found from, by modality and fit."""
    counts, fit = [], Landmarks.fit

    def counted(self, values):
        counts.append(len(values))
        fit(self, values)

    monkeypatch.setattr(Landmarks, "fit", counted)
    return counts


def rows(seed=0, count=60):
    generator = np.random.default_rng(seed)
    hidden = generator.normal(size=(count, 2))
    parts = [np.tanh(hidden @ generator.normal(size=(2, size))) for size in (3, 4)]
    present = np.ones((count, 2), dtype=bool)
    present[:9, 0] = present[9:14, 1] = False
    return PairStore(*(part.astype(np.float32) for part in parts), present)


def config(folder=None, epochs=2, *, centring=Centring.presence, resume=False):
    made = settings(
        epochs,
        val_fraction=0.5,
        network={"diffusion": True},
        loss=LossConfig(diffusion=1.0),
        embedding=EmbeddingConfig(
            space=Space.diffusion,
            solved=True,
            landmarks=16,
            centring=centring,
            shared=float(centring is Centring.presence),
            whitening=0.4 * (centring is Centring.complete),
            stacked=True,
        ),
    )
    if folder is not None:
        made.run_dir, made.resume = str(folder), resume
        kind = {"_target_": CHECKPOINTS, "folder": str(folder), "every_n_epochs": 1}
        made.callbacks = {"checkpoint": kind}
    return made


def fresh(model, data):
    """Statistics of the embedding as a model finds them that was not trained, by name."""
    other = build_model(describe_model(model))
    for own, kept in (
        (other.first_scaler, model.first_scaler),
        (other.second_scaler, model.second_scaler),
    ):
        own.load_state_dict(kept.state_dict())
    fit_embedding(other, data.store, data.complete_rows, data.taught)
    return other.finish.state_dict()


def stacked(model, data):
    """What translations are stacked of, as it is found anew for a model's weights, by name."""
    other = build_model(describe_model(model))
    other.load_state_dict(
        {k: v for k, v in model.state_dict().items() if "stacked" not in k}, strict=False
    )
    solve_translations(other, data.store, data.complete_rows)
    weigh_translations(other, data.val_store, data.val_rows)
    return other.stacked.state_dict()


def assert_same(own, expected):
    assert own.keys() == expected.keys()
    for name, values in expected.items():
        assert torch.equal(own[name], values), name


def kept(folder, part="finish"):
    content = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    named, prefix = content["state_dict"].items(), f"model.{part}."
    return {key.removeprefix(prefix): v for key, v in named if key.startswith(prefix)}


@pytest.mark.parametrize("averages", [False, True])
@pytest.mark.parametrize("centring", [Centring.presence, Centring.complete])
def test_what_no_step_changes_is_found_once_and_is_what_a_fresh_model_finds(
    found, tmp_path, averages, centring
):
    # What it keeps until its first step is the model as it came, without statistics.
    average = EMAWeightAveraging(decay=0.5, update_every_n_steps=3, update_starting_at_step=8)
    saved = []

    class Follow(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            path = tmp_path / "checkpoints" / "last.ckpt"
            if path.is_file():
                saved.append(kept(tmp_path))

    callbacks = [average, Follow()] if averages else [Follow()]
    training = run(rows(), config(tmp_path, 5, centring=centring), callbacks)
    model, data = training.fitted.model, training.data
    said = data.store.present[data.scaling_rows].sum(axis=0)
    assert found == said.tolist()
    expected = fresh(model, data)
    assert all(values.abs().sum() > 0 for name, values in expected.items() if values.numel())
    assert len(saved) >= 4
    for statistics in (*saved, kept(tmp_path), training.module.ready_model().finish.state_dict()):
        assert_same(statistics, expected)
    # How translations are weighed does change, with the weights that are saved.
    for weights, own in (
        (model, model.stacked.state_dict()),
        (load_bundle(tmp_path / "checkpoints" / "last.ckpt"), kept(tmp_path, "stacked")),
    ):
        assert_same(own, stacked(weights, data))
        assert not torch.equal(own["shares"], torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    agreement = found_again(model, data.val_store, data.val_rows)
    assert agreement is not None
    assert training.fitted.metrics["agreement"] == agreement[0]
    noted = training.fitted.history.columns()[SELDOM]
    assert noted == [agreement[0]] * 5


class Stop(Callback):
    """Stops a training by a signal, as `kill` would."""

    by_chunks = True

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_run_that_is_resumed_has_them_from_its_checkpoint(found, tmp_path):
    alone = run(rows(), config(tmp_path / "alone", 4))
    with pytest.raises(StoppedError, match="stopped by SIGTERM"):
        run(rows(), config(tmp_path / "other", 4), [Stop()])
    assert len(found) == 4
    other = run(rows(), config(tmp_path / "other", 4, resume=True))
    assert len(found) == 4
    assert_same(other.fitted.model.state_dict(), alone.fitted.model.state_dict())
    assert_same(kept(tmp_path / "other"), kept(tmp_path / "alone"))


def test_a_model_that_trains_on_other_rows_finds_those_of_these_rows(found):
    first = run(rows(), config())
    before = {name: v.clone() for name, v in first.fitted.model.finish.state_dict().items()}
    again = run(rows(1), config(), start=first.fitted.model.train())
    assert len(found) == 4
    expected = fresh(again.fitted.model, again.data)
    assert_same(again.fitted.model.finish.state_dict(), expected)
    assert not torch.equal(expected["landmarks.0.points"], before["landmarks.0.points"])
    translated = stacked(again.fitted.model, again.data)
    assert_same(again.fitted.model.stacked.state_dict(), translated)
    # As a user of Lightning's trainer does, with the same module.
    data = pair_data(config(), rows(2))
    data.coordinates = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    again.trainer.fit_loop.max_epochs = 3
    again.module.train()
    with known_warnings_left_out():
        again.trainer.fit(again.module, datamodule=data)
    assert_same(again.module.model.finish.state_dict(), fresh(again.module.model, data))
    assert again.trainer.current_epoch == 3


def test_a_model_that_is_only_used_keeps_those_it_came_with(found):
    first = run(rows(), config())
    before = {name: v.clone() for name, v in first.fitted.model.finish.state_dict().items()}
    translated = {name: v.clone() for name, v in first.fitted.model.stacked.state_dict().items()}
    used = run(rows(1), config(epochs=0), start=first.fitted.model)
    assert_same(used.module.ready_model().finish.state_dict(), before)
    assert_same(used.module.ready_model().stacked.state_dict(), translated)
    assert len(found) == 2


def test_translations_that_no_rows_are_held_out_to_weigh_are_the_networks_and_it_is_said(caplog):
    made = config()
    made.data.val_fraction = 0.0
    model = run(rows(), made).fitted.model
    (said,) = [line for line in caplog.messages if "are the network's" in line]
    assert said.startswith("embedding.stacked=true weighs")
    assert said.endswith("data.val_fraction=0.05 holds some out")
    assert model.stacked.rows == 46
    first = model.first_scaler(torch.from_numpy(rows().first))
    with torch.no_grad():
        own, network = model.translate(first=first), model.network.translate(first=first)
    torch.testing.assert_close(own, network, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("averages", [False, True])
def test_what_is_said_of_translations_is_of_the_model_that_comes_out(averages):
    average = EMAWeightAveraging(decay=0.5, update_every_n_steps=3)
    training = run(rows(), config(epochs=5), [average] if averages else [])
    model, data = training.fitted.model, training.data
    found = explained_variance(model, data.val_store, data.val_rows)
    metrics = training.fitted.metrics
    assert {name: metrics[f"explained/{name}"] for name in found} == found
    model.stacked = None  # the network alone
    assert explained_variance(model, data.val_store, data.val_rows) != found
