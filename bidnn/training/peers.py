"""The other processes of a training that Lightning has started: none outlives it, or hangs it."""

import logging
import os
import subprocess
import threading
from types import TracebackType
from typing import Any, Self

from bidnn.training.signals import GRACE_S, SIGNALS

log = logging.getLogger(__name__)

LOOK_S = 0.2
STOPPED = {0, *(128 + number for number in SIGNALS)}
"""Exit statuses of processes that came to an end, or were told to stop."""


class Peers(threading.Thread):
    """Ends the training when one of them has failed, with a line and status 1.

    Lightning would kill this process within seconds, whatever it is at, and say nothing. Here it
    has time to find out by itself, from what it does together with them; where it cannot, as when
    it waits for a process to come that has failed, it is ended.
    """

    def __init__(self, launcher: Any) -> None:  # noqa: ANN401 — Lightning's, of a strategy; or None
        """Looks at them from the block's begin to its end.

        Args:
            launcher: that starts processes, once the training begins.
        """
        super().__init__(name="bidnn-peers", daemon=True)
        self._launcher = launcher
        self._left = threading.Event()
        self._known: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        """Begins to look, where there is what starts processes."""
        if hasattr(self._launcher, "procs"):
            self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Leaves none behind."""
        self._left.set()
        if kind is None:
            return
        self._take()
        for process in self._known:
            try:
                process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()

    def run(self) -> None:
        """Until the block ends."""
        while not self._left.wait(LOOK_S):
            procs = getattr(self._launcher, "procs", [])
            self._known = list(procs) or self._known
            ended = [(number, p.poll()) for number, p in enumerate(self._known, start=1)]
            failed = [(number, status) for number, status in ended if status]
            if not failed:
                continue
            self._take()
            if self._left.wait(GRACE_S) or all(status in STOPPED for _, status in failed):
                return
            log.error(
                "process %d of this training ended with status %d; the others end", *failed[0]
            )
            logging.shutdown()
            for process in self._known:
                process.kill()
            os._exit(1)

    def _take(self) -> None:
        """Takes them from Lightning, which kills this process when one has failed."""
        procs = getattr(self._launcher, "procs", [])
        self._known = list(procs) or self._known
        procs.clear()
