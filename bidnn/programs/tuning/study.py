"""The trials of a study: a folder with a journal, shared by all processes that train in it."""

import json
import logging
import os
import platform
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.pruners import MedianPruner, NopPruner
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, Trial, TrialState

from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.files import readable
from bidnn.programs.config import TuneConfig
from bidnn.programs.tuning.sampling import AGAIN, PlacedSampler
from bidnn.programs.tuning.space import Space
from bidnn.report.comparison import lower_is_better
from bidnn.training.record import MAY_CHANGE, NAME, check_no_training, describe_run, write_record
from bidnn.training.signals import held_back

log = logging.getLogger(__name__)

JOURNAL = "study.journal"
ALIKE = 3
"""Failures for one reason, with which a study begins, that end it."""
STARTUP, WARMUP = 5, 3
"""Trials and tenths of a training before any is pruned."""
ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True, slots=True)
class Asked:
    """A trial to train.

    Attributes:
        trial: Optuna's.
        folder: its own; of a trial that was cut off, that one's.
        settings: what was drawn, as for `bidnn train`.
    """

    trial: Trial
    folder: Path
    settings: list[str]

    @property
    def number(self) -> int:
        """From 0, in the order in which they were asked for."""
        return self.trial.number

    def report(self, part: int, value: float) -> None:
        """Takes what the training is worth so far.

        Raises:
            optuna.TrialPruned: if it is to be ended.
        """
        with held_back():
            if part not in self.trial.study.trials[self.number].intermediate_values:
                self.trial.report(value, part)
            worse = self.trial.should_prune()
        if worse:
            raise optuna.TrialPruned(f"pruned after {part} tenths, at {value:.4g}")


@dataclass(frozen=True, slots=True)
class Study:
    """A study, as one of its processes has it.

    Attributes:
        folder: of the study.
        optuna: Optuna's.
        space: what is searched.
        worker: this process.
        gone: machines whose processes have ended.
        lock: held by the process that asks for a trial.
    """

    folder: Path
    optuna: optuna.Study
    space: Space
    worker: dict[str, str]
    gone: list[str]
    lock: FileLock

    def ask(self, trials: int) -> Asked | None:
        """The next trial, before others one that was cut off.

        Args:
            trials: of all processes, in all.

        Returns:
            None if there are so many.
        """
        distributions = {key: found.distribution() for key, found in self.space.items()}
        with held_back(), self.lock:
            self._take_back()
            if len([t for t in self.counted() if t.state is not TrialState.WAITING]) >= trials:
                return None
            trial = self.optuna.ask(distributions)
            trial.set_user_attr("worker", self.worker)
            known = self.optuna.trials
            if AGAIN in trial.user_attrs:
                for part, value in known[trial.user_attrs[AGAIN]].intermediate_values.items():
                    trial.report(value, part)
        settings = [f"{key}={self.space[key].typed(v)}" for key, v in trial.params.items()]
        return Asked(trial, self.folder_of(known[trial.number]), settings)

    def folder_of(self, trial: FrozenTrial) -> Path:
        """Where a trial trains."""
        return self.folder / "trials" / str(trial.user_attrs.get("folder", trial.number))

    def complete(self, asked: Asked, value: float, metrics: Mapping[str, float]) -> None:
        """Records a trial that has come to its end."""
        with held_back():
            asked.trial.set_user_attr("metrics", dict(metrics))
            self.optuna.tell(asked.trial, value)

    def fail(self, asked: Asked, reason: str) -> None:
        """Records a trial that could not be trained, and why."""
        with held_back():
            asked.trial.set_user_attr("reason", reason)
            self.optuna.tell(asked.trial, state=TrialState.FAIL)

    def prune(self, asked: Asked, reason: str) -> None:
        """Records a trial that was ended, and when."""
        with held_back():
            asked.trial.set_user_attr("reason", reason)
            self.optuna.tell(asked.trial, state=TrialState.PRUNED)

    def interrupt(self, asked: Asked, reason: str) -> None:
        """Records a trial that was cut off, which is asked for again; not one that has ended."""
        with held_back(), self.lock:
            if self.optuna.trials[asked.number].state is TrialState.RUNNING:
                asked.trial.set_user_attr("reason", reason)
                self._ask_again(self.optuna.trials[asked.number])

    def counted(self) -> list[FrozenTrial]:
        """All trials but those that were cut off, which another has taken the place of."""
        trials = self.optuna.trials
        replaced = {trial.user_attrs.get(AGAIN) for trial in trials}
        return [trial for trial in trials if trial.number not in replaced]

    def hopeless(self) -> str | None:
        """The reason for which all of the first trials failed, if it is one; None if it is not."""
        first = [trial for trial in self.counted() if trial.state in ENDED][:ALIKE]
        reasons = {trial.user_attrs.get("reason", "") for trial in first}
        failed = all(trial.state is TrialState.FAIL for trial in first)
        return reasons.pop() if len(first) == ALIKE and failed and len(reasons) == 1 else None

    def _take_back(self) -> None:
        """Asks again for what processes had begun that have ended since."""
        for trial in self.optuna.trials:
            worker = trial.user_attrs.get("worker")
            if trial.state is not TrialState.RUNNING or (worker and not self._ended(worker)):
                continue
            log.warning("trial %d was cut off with its process, and is begun again", trial.number)
            self._ask_again(trial)

    def _ask_again(self, trial: FrozenTrial) -> None:
        replaced = {other.user_attrs.get(AGAIN) for other in self.optuna.trials}
        if trial.number not in replaced:  # killed between the two steps, this is done again
            attributes = {AGAIN: trial.number, "folder": self.folder_of(trial).name}
            self.optuna.enqueue_trial(trial.params, user_attrs=attributes)
        self.optuna.tell(trial.number, state=TrialState.FAIL)

    def _ended(self, worker: Mapping[str, str]) -> bool:
        """Whether a process is known to have ended: one of this machine, or of one that is gone."""
        if worker["machine"] in self.gone:
            return True
        if worker["machine"] != self.worker["machine"] or worker == self.worker:
            return False
        path = _lock_of(self.folder, worker)
        if not path.exists():
            return True
        try:
            with FileLock(path, timeout=0):
                path.unlink(missing_ok=True)
                return True
        except Timeout:
            return False


@contextmanager
def opened(
    config: TuneConfig, space: Space, settings: dict[str, Any], store: PairStore
) -> Iterator[Study]:
    """The study in a folder, begun or gone on with; this process is one of its workers meanwhile.

    Args:
        config: the settings.
        space: what is searched.
        settings: what must be the same for all trials, in plain types.
        store: the rows.

    Raises:
        UserError: if there is a study and none is to be gone on with, or the reverse, or it is of
            other settings or rows.
        OSError: if the folder cannot be written.
    """
    folder = Path(config.run_dir)
    check_no_training(folder)
    _check_resume(config)
    optuna.logging.disable_default_handler()
    optuna.logging.enable_propagation()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    worker = {"machine": platform.node(), "process": f"{os.getpid()}-{uuid.uuid4().hex[:8]}"}
    own = _lock_of(folder, worker)
    own.parent.mkdir(parents=True, exist_ok=True)
    lock, now = FileLock(folder / ".study.lock"), describe_run(settings, store)
    try:
        with FileLock(own):
            with held_back(), lock:
                _check_resume(config)  # again, of several that begin at once
                _check_record(config, now, store)
                found = _optuna(config)
            yield Study(folder, found, space, worker, config.gone, lock)
    finally:
        own.unlink(missing_ok=True)


def _lock_of(folder: Path, worker: Mapping[str, str]) -> Path:
    """What a process holds as long as it lives: the system drops it, however that ends."""
    return folder / ".workers" / f"{worker['machine']}-{worker['process']}"


def _check_resume(config: TuneConfig) -> None:
    """Refuses to go on where there is nothing, or to begin where there is something."""
    folder = Path(config.run_dir)
    begun = (folder / JOURNAL).exists()
    if config.resume is True and not begun:
        raise UserError(
            f"{folder / JOURNAL}: no study to resume; hydra.run.dir=FOLDER names one, and "
            "resume=auto begins one where there is none"
        )
    if config.resume is False and begun:
        raise UserError(
            f"{folder}: there is a study in it; resume=auto goes on with it, or takes part in it; "
            "or name another folder"
        )


def _check_record(config: TuneConfig, now: dict[str, Any], store: PairStore) -> None:
    """Compares with the record of the study, or writes it."""
    folder = Path(config.run_dir)
    path = folder / NAME
    if not path.is_file():
        write_record(folder, store, now["settings"])
        return
    with readable(path, "record of a study"):
        record = json.loads(path.read_text())
        before, rows = record["settings"], record["data"]
    keys = [key for key in before | now["settings"] if key not in MAY_CHANGE]
    differ = [key for key in keys if before.get(key) != now["settings"].get(key)]
    searched = {key for key in differ if f"space.{key}" in (before | now["settings"])}
    differ = [key for key in differ if key not in searched]
    if differ:
        was = " ".join(f"{key}={json.dumps(before.get(key))}" for key in differ)
        raise UserError(
            f"{folder}: the study was begun with {was}; set that, or name another folder"
        )
    if rows != now["data"]:
        raise UserError(
            f"{folder}: the study was begun with other rows than there are now ({rows['rows']} and "
            f"{now['data']['rows']}); give it its own again, or name another folder"
        )


def _optuna(config: TuneConfig) -> optuna.Study:
    path = Path(config.run_dir) / JOURNAL
    lock = JournalFileOpenLock(str(path))  # its links would lead nowhere where paths differ
    _cut(path, lock)
    with readable(path, "journal of a study"):
        return optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(path), lock)),
            study_name="bidnn",
            direction="minimize" if lower_is_better(config.objective) else "maximize",
            sampler=PlacedSampler(config.sampler, config.seed),
            pruner=MedianPruner(STARTUP, WARMUP) if config.prune else NopPruner(),
            load_if_exists=True,
        )


def _cut(path: Path, lock: JournalFileOpenLock) -> None:
    """Takes off what a full disk or a killed process left of a line, which nobody could read."""
    if not path.exists():
        return
    lock.acquire()
    try:
        content = path.read_bytes()
        if not content.endswith(b"\n"):
            os.truncate(path, content.rfind(b"\n") + 1)
    finally:
        lock.release()
