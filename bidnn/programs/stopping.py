"""How a program ends by a signal where no training has its own way, and a sweep its jobs."""

import logging
import multiprocessing
import os
import signal
from contextlib import suppress
from multiprocessing.process import BaseProcess
from typing import NoReturn

from bidnn.training.signals import end

log = logging.getLogger(__name__)

_told: int | None = None


def told() -> int | None:
    """The signal that this process was told to end by, if it was."""
    return _told


def is_worker(process: BaseProcess) -> bool:
    """Whether a process is one of those that joblib gives a sweep's jobs to."""
    return type(process).__module__.startswith("joblib.")


def note(number: int) -> None:
    """Keeps the signal, for a worker of a sweep that has no job at hand: it takes no other."""
    global _told  # noqa: PLW0603 — signals are the process's own
    _told = number


def at_once(number: int) -> NoReturn:
    """Ends the job.

    Raises:
        StoppedError: always.
    """
    note(number)
    end(number, "nothing was being trained")


def leave(number: int) -> NoReturn:
    """Ends the process with a line, while it imports: libraries catch what is raised then."""
    os.write(2, f"stopped by {signal.Signals(number).name}; nothing was begun\n".encode())
    os._exit(128 + number)


def end_jobs(number: int) -> None:
    """Tells the workers of a sweep to save checkpoints and end; without any, or once more, ends.

    Raises:
        StoppedError: if there is nothing to wait for.
    """
    workers = [child for child in multiprocessing.active_children() if is_worker(child)]
    if not workers or _told is not None:
        at_once(number)
    note(number)
    log.warning(
        "%s: the jobs save checkpoints and stop; once more: stops at once",
        signal.Signals(number).name,
    )
    for worker in workers:
        if worker.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGTERM)
