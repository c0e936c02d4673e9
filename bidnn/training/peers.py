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
LOOKS = 5
"""After which Lightning no longer watches the processes; it begins to after five seconds."""
STOPPED = {0, *(128 + number for number in SIGNALS)}
"""Exit statuses of processes that came to an end, or were told to stop."""


FIRST = "BIDNN_FIRST"
"""An environment variable: the process that started this one to train with it."""


class Peers(threading.Thread):
    """Ends the training when one of its processes has failed, with a line and status 1.

    Lightning would kill the first process within seconds, whatever it is at, and say nothing. Here
    it has time to find out by itself, from what it does together with them; where it cannot, as
    when it waits for a process to come that has failed, it is ended. So are the others when the
    first is gone.
    """

    def __init__(self, launcher: Any) -> None:  # noqa: ANN401 — Lightning's, of a strategy; or None
        """Looks at them from the block's begin to its end.

        Args:
            launcher: that starts processes, once the training begins, unless this is one of them.
        """
        super().__init__(name="bidnn-peers", daemon=True)
        self._launcher = launcher
        # Whether another one started this process; what the first runs besides is none.
        self._follows = FIRST in os.environ and os.environ.get("LOCAL_RANK", "0") != "0"
        # Under torchrun and SLURM, who started this process looks after it.
        surroundings = getattr(launcher, "cluster_environment", None)
        self._starts = surroundings is not None and not surroundings.creates_processes_externally
        self._left = threading.Event()
        self._known: list[subprocess.Popen[bytes]] = []
        self._looks = 0  # since all were started

    def __enter__(self) -> Self:
        """Begins to look, where there is somebody to look at."""
        if self._follows:
            self.start()
        elif self._starts:
            os.environ[FIRST] = str(os.getpid())
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
        if self._starts:
            os.environ.pop(FIRST, None)
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
            if self._follows:
                if os.getppid() != int(os.environ[FIRST]):
                    self._end("the process that started this one has ended; this one ends")
                continue
            self._known = list(self._launcher.procs) or self._known
            self._watch_alone()
            ended = [(number, p.poll()) for number, p in enumerate(self._known, start=1)]
            failed = [(number, status) for number, status in ended if status]
            if failed:
                self._take()
                if all(status in STOPPED for _, status in failed):
                    return  # and so was this one, which saves what there is
                number, status = failed[0]
                self._end(
                    f"process {number} of this training ended with status {status}; the others end"
                )

    def _watch_alone(self) -> None:
        """Gives Lightning another list than the one that it watches, which is left empty.

        Otherwise it may see first that a process has failed. It still passes signals on.
        """
        watched = self._launcher.procs
        self._looks += len(watched) == self._launcher.num_processes - 1
        if self._looks == LOOKS:
            self._launcher.procs = list(watched)
            watched.clear()

    def _end(self, why: str) -> None:
        """Ends this process and those that it started, unless it ends by itself."""
        if self._left.wait(GRACE_S):
            return
        log.error(why)
        logging.shutdown()
        for process in self._known:
            process.kill()
        os._exit(1)

    def _take(self) -> None:
        """Takes them from Lightning, which kills this process when one has failed."""
        procs = getattr(self._launcher, "procs", [])
        self._known = list(procs) or self._known
        procs.clear()
