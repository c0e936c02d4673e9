"""`bidnn tune`: searches for the settings of a training that are best by a metric."""

import logging
import math
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from bidnn.data.store import PairStore
from bidnn.errors import StoppedError, UserError
from bidnn.programs.config import TuneConfig
from bidnn.programs.messages import fixable, one_line
from bidnn.programs.processes import called, own_folders, started_together
from bidnn.programs.rows import open_rows, source_of
from bidnn.programs.settings import compose_program, finished
from bidnn.programs.train import check_own_output, objective_of, train
from bidnn.programs.tuning.space import Space, read_space
from bidnn.training.callbacks.tell import TellObjective
from bidnn.training.config import TrainConfig
from bidnn.training.fit import DECIDING
from bidnn.training.given import Given
from bidnn.training.record import plain_settings

if TYPE_CHECKING:
    from bidnn.programs.tuning.study import Asked, Study

log = logging.getLogger(__name__)

QUIET = (
    *("callbacks.progress=null", "callbacks.report=null", "report=false"),
    *("logger=none", "output.path=null"),
)
"""What each training leaves out, unless its settings say otherwise."""
NOT_SEARCHED = ("seed", "resume", "run_dir", "objective", "hydra")
OF_THE_MACHINE = ("trainer.accelerator", "trainer.devices", "speed.threads")
"""Settings that may differ between the machines of a study."""


@dataclass(frozen=True, slots=True)
class Trainings:
    """What all trials train.

    Attributes:
        settings: of each, as for `bidnn train`, but for what is drawn.
        folders: of the user's own settings.
        seed: of each.
        objective: what they are compared by.
    """

    settings: list[str]
    folders: list[Path]
    seed: int
    objective: str

    def composed(self, drawn: list[str], folder: Path) -> DictConfig:
        """The training of one trial, which goes on where it was cut off.

        Raises:
            UserError: naming the setting that is not known, or its value.
        """
        own = [f"seed={self.seed}", "resume=auto", f"objective={self.objective}"]
        config = compose_program("train", [*self.settings, *drawn, *own], self.folders)
        config.run_dir = str(folder)
        return config


def run(config: TuneConfig) -> None:
    """Trains until there are as many trials as were asked for, and says what they found.

    Raises:
        UserError, OSError: naming what is wrong and the way out; in the end, if no trial came to
            its end.
    """
    try:
        from bidnn.programs.tuning.results import conclude, write_csv
        from bidnn.programs.tuning.study import opened
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "optuna":
            raise
        raise UserError("bidnn tune needs Optuna; pip install 'bidnn[tune]'") from error

    space = read_space(config.space)
    trainings, settings, store = check(config, space)
    log.info(store.describe())
    with opened(config, space, settings, store) as study:
        while (asked := study.ask(config.trials)) is not None:
            _train(asked, study, trainings, config)
            write_csv(study, config.objective)
            if (reason := study.hopeless()) is not None:
                raise UserError(f"the first trials all failed, for one reason: {reason}")
        conclude(study, config.objective, config.train, config.seed)


def check(config: TuneConfig, space: Space) -> tuple[Trainings, dict[str, Any], PairStore]:
    """What all trials share, with all that can be known to be wrong found before the first.

    Args:
        config: the settings.
        space: what is searched.

    Returns:
        The trainings; what must be the same for all of them, in plain types; the rows.

    Raises:
        UserError, OSError: naming the setting.
    """
    given = [setting.lstrip("+~").partition("=")[0] for setting in config.train]
    for key in space:
        if key.lstrip("+") in given:
            raise UserError(f"space.{key}: {key} is set, too; leave out one of them")
        if key.split(".")[0] in NOT_SEARCHED or key == "output.path":
            raise UserError(f"space.{key}: nothing to search; leave it out")
    kept = ("callbacks.report=null",) if config.objective.startswith("map/") else ()
    quiet = [setting for setting in QUIET if setting not in kept]
    folders = [Path(path) for path in own_folders()]
    trainings = Trainings([*quiet, *config.train], folders, config.seed, config.objective)
    first = _first(trainings, space, Path(config.run_dir))
    one = first.trainer.devices in (1, "auto") and (first.trainer.num_nodes or 1) == 1
    if not one or started_together():
        raise UserError(
            f"trainer.devices={first.trainer.devices}: a trial trains in one process; start tune "
            "several times in one folder, hydra.run.dir=FOLDER, each for itself (on SLURM, as a "
            "job array)"
        )
    if not first.trainer.trains:
        raise UserError("trainer.max_epochs=0: nothing is trained, and nothing can be searched")
    check_own_output(first, "every trial")
    store = open_rows(source_of(first.data), config.seed)
    parts = (*DECIDING, "trainer", "speed")
    fixed = plain_settings({key: getattr(first, key) for key in parts})
    fixed = {key: value for key, value in fixed.items() if key not in space}
    searched = {f"space.{key}": found.text for key, found in space.items()}
    study = {"objective": config.objective, "sampler": config.sampler.value}
    settings = {key: value for key, value in fixed.items() if key not in OF_THE_MACHINE}
    return trainings, {**settings, **searched, **study}, store


def _first(trainings: Trainings, space: Space, folder: Path) -> TrainConfig:
    """A training of the space, the first of those looked at whose settings go together.

    All choices are looked at, and the bounds of numbers.

    Raises:
        UserError: if a key or a value is none, or none of the trainings can be.
    """
    problem: UserError | None = None
    first: TrainConfig | None = None
    for number in range(max(len(found.tried) for found in space.values())):
        drawn = [
            f"{key}={found.tried[min(number, len(found.tried) - 1)]}"
            for key, found in space.items()
        ]
        config = trainings.composed(drawn, folder / "trials" / "0")
        if first is not None:
            continue
        try:
            first = finished(config)
        except UserError as error:
            problem = problem or error
    if first is None:
        assert problem is not None
        raise problem
    return first


def _train(asked: "Asked", study: "Study", trainings: Trainings, config: TuneConfig) -> None:
    """Trains one trial and records it; nothing but a signal, or no such objective, ends the study.

    Raises:
        StoppedError: if a signal came.
        UserError: if the objective is nothing that a training measures.
    """
    from optuna import TrialPruned

    started, drawn = time.perf_counter(), " ".join(asked.settings)
    unknown: UserError | None = None
    try:
        tell = TellObjective(config.objective, asked.report)
        training = finished(trainings.composed(asked.settings, asked.folder))
        with _own_log(asked.folder):
            metrics = train(
                training,
                [tell] if config.prune else [],
                command=called("train", [*config.train, *asked.settings, f"seed={config.seed}"]),
                chosen=_chosen(asked.settings, config),
            )
        seconds = time.perf_counter() - started
        try:
            value = objective_of(metrics, config.objective)
        except UserError as error:
            unknown = error
            raise
        if not math.isfinite(value):
            raise UserError(f"{config.objective} is {value}")
        study.complete(asked, value, {**metrics, "seconds": seconds})
        log.info(
            "trial %d: %s %.4g, %s, %.1f s", asked.number, config.objective, value, drawn, seconds
        )
    except StoppedError as stop:
        study.interrupt(asked, str(stop))
        raise
    except TrialPruned as pruned:
        study.prune(asked, str(pruned))
        shutil.rmtree(asked.folder, ignore_errors=True)
        log.info("trial %d: %s, %s", asked.number, pruned, drawn)
    except Exception as problem:  # another trial may go well
        reason = one_line(problem)
        if not fixable(problem):
            reason = f"{type(problem).__name__}: {reason}"
        study.fail(asked, reason)
        trace = None if fixable(problem) else problem
        log.error("trial %d failed: %s; %s", asked.number, reason, drawn, exc_info=trace)
        if unknown is not None:
            raise unknown from None


def _chosen(drawn: list[str], config: TuneConfig) -> Given:
    keys = [setting.lstrip("+").partition("=")[0] for setting in drawn]
    return Given.of([*config.train, *drawn], keys)


@contextmanager
def _own_log(folder: Path) -> Iterator[None]:
    """What a training says goes into its own `train.log`; only warnings, once each, elsewhere."""
    root = logging.getLogger()
    folder.mkdir(parents=True, exist_ok=True)
    file = logging.FileHandler(folder / "train.log", delay=True)
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    before = {handler: handler.level for handler in root.handlers}
    for handler in before:
        handler.setLevel(max(handler.level, logging.WARNING))
        handler.addFilter(_once)
    root.addHandler(file)
    try:
        yield
    finally:
        root.removeHandler(file)
        file.close()
        for handler, level in before.items():
            handler.setLevel(level)
            handler.removeFilter(_once)


_said: set[tuple[str, str]] = set()


def _once(record: logging.LogRecord) -> bool:
    """Whether a line is new: each trial would warn of the same rows."""
    line = (record.name, record.getMessage())
    new = line not in _said
    _said.add(line)
    return new
