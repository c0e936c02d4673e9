"""A word on compiled steps, only where it is worth it."""

import itertools
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bidnn.architecture import NetworkConfig
from bidnn.data.store import PairStore
from bidnn.losses import LossConfig
from bidnn.model.model import Model
from bidnn.training import speed
from bidnn.training.callbacks import hurry
from bidnn.training.callbacks.hurry import Hurry
from bidnn.training.module import TrainingModule
from bidnn.training.optimizers import SgdConfig
from bidnn.training.speed import SpeedConfig
from tests.training.fitting import run, settings


@pytest.fixture
def said(monkeypatch, caplog):
    """What a training says whose chunks take `seconds` each, of ten steps or so."""
    draw = np.random.default_rng(0)
    store = PairStore(*draw.normal(size=(2, 80, 4)).astype("f4"), np.ones((80, 2), bool))
    caplog.set_level(logging.INFO)

    def say(seconds, epochs=100, compiler=True, **more):
        caplog.clear()
        clock = itertools.count(0, seconds)
        monkeypatch.setattr(hurry, "time", SimpleNamespace(monotonic=lambda: next(clock)))
        monkeypatch.setattr(hurry, "has_compiler", lambda _: compiler)
        config = settings(epochs, **more)
        run(store, config)
        return [line for line in caplog.messages if "ms a step" in line]

    return say


def test_it_says_what_is_left_where_compiling_saves_minutes(said):
    # A chunk is an epoch of 10 steps: after 11 s there are 98 epochs left, of 11 s each.
    (line,) = said(11.0)
    assert line.startswith("1.1e+03 ms a step, 18 minutes of them left; speed=fast takes 0.4 to")


@pytest.mark.parametrize(
    ("seconds", "more"),
    [
        (11.0, {"epochs": 20}),  # saves too little
        (0.01, {}),  # is over before anything was measured
        (11.0, {"compiler": False}),
    ],
)
def test_else_it_says_nothing(said, seconds, more):
    assert said(seconds, **more) == []


@pytest.mark.parametrize(("instructions", "lines"), [({"amx_bf16": True}, 1), ({}, 0)])
def test_large_steps_gain_by_products_in_bf16_only(said, monkeypatch, instructions, lines):
    monkeypatch.setattr(hurry, "SMALL_STEP", 0.0)
    monkeypatch.setattr(speed, "SMALL_STEP", 0.0)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    assert len(said(11.0)) == lines


def test_compiled_steps_are_not_advised_again(said, caplog):
    model = Model(4, 4, NetworkConfig(hdn=4, rep=4))
    module = TrainingModule(model, LossConfig(), SgdConfig(), SpeedConfig(compile=True))
    callback = Hurry(after_s=0.0)
    for _ in range(3):  # which would ask the module for its trainer, if it went on
        callback.on_train_batch_end(SimpleNamespace(is_global_zero=True), module, None, None, 0)
    assert not caplog.messages
