"""Loggers that are configured: how they are named, what they are given, when they are closed."""

import sys
from types import ModuleType

import pytest
from lightning import Callback
from omegaconf import OmegaConf

from bidnn.errors import UserError
from bidnn.programs.config import CONF
from bidnn.training.given import Given
from bidnn.training.loggers import make_loggers
from tests.training.fitting import run, settings


def node(name):
    """What conf/ has for a logger, of a run in `runs/day/time`."""
    content = OmegaConf.load(CONF / "logger" / f"{name}.yaml")
    return OmegaConf.to_container(
        OmegaConf.merge({"run_dir": "runs/day/time"}, content), resolve=True
    )[name]


@pytest.mark.parametrize("name", ["wandb", "mlflow", "trackio"])
def test_what_is_not_installed_is_named_with_the_way_to_install_it(name, monkeypatch):
    from lightning.pytorch.loggers import mlflow, wandb

    monkeypatch.setattr(wandb, "_WANDB_AVAILABLE", "")
    monkeypatch.setattr(mlflow, "_MLFLOW_AVAILABLE", "")
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(
        UserError, match=f"^logger.{name}: {name} is not installed; pip install {name}$"
    ):
        make_loggers({name: node(name)}, "", None)


class FakeRun:
    def __init__(self, **given):
        self.given, self.logged, self.open = given, [], True

    def log(self, metrics, step):
        assert self.open
        self.logged.append((step, metrics))


@pytest.fixture
def runs(monkeypatch):
    """The runs that a package with trackio's interface was asked for."""
    made = []
    package = ModuleType("trackio")
    package.init = lambda project, **given: (
        made.append(FakeRun(project=project, **given)) or made[-1]
    )
    package.finish = lambda: setattr(made[-1], "open", False)
    monkeypatch.setitem(sys.modules, "trackio", package)
    return made


def test_trackio_has_settings_curves_and_final_metrics_and_is_closed(store, runs, tmp_path):
    config = settings(2, val_fraction=0.2)
    config.run_dir = str(tmp_path / "day" / "time")
    config.logger = {"trackio": node("trackio")}
    made = run(store, config, chosen=Given.of(["model.rep=4"]))
    (found,) = runs
    assert found.given["project"] == "bidnn"
    assert found.given["name"] == "day/time rep=4"
    assert found.given["config"]["model.rep"] == 4
    assert not found.open
    last = made.trainer.global_step
    assert [step for step, _ in found.logged] == [last // 2, last // 2, last, last, last]
    assert found.logged[-1][1] == made.fitted.metrics
    assert found.logged[1][1]["train/loss"] > found.logged[3][1]["train/loss"]


class Fails(Callback):
    def on_train_epoch_end(self, trainer, pl_module):
        raise RuntimeError("the machine is gone")


def test_trackio_is_closed_by_a_training_that_fails(store, runs):
    config = settings(2)
    config.logger = {"trackio": node("trackio")}
    with pytest.raises(RuntimeError, match="gone"):
        run(store, config, [Fails()])
    assert [found.open for found in runs] == [False]
    assert runs[0].given["name"] is None
