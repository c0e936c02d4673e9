"""Standard streams that a program outlives: a closed terminal or a full disk ends no training."""

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, TextIO


class Lasting:
    """A text stream; what it can no longer write is lost, and nobody is troubled by it.

    After the first failure it writes nowhere: what waits in its buffers would fail again, and at
    the interpreter's end turn a good exit status into a bad one.
    """

    def __init__(self, stream: TextIO) -> None:
        """Takes an open stream."""
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes, if it can."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Writes, if it can."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Writes what waits, if it can."""
        self._try(self._stream.flush)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 — whatever the stream has
        """All else is the stream's own."""
        return getattr(self._stream, name)

    def _try(self, write: Callable[[], object]) -> None:
        try:
            write()
        except BlockingIOError:  # a terminal that is slow, not gone
            return
        except OSError:
            with suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)
        except ValueError:
            if not self._stream.closed:
                raise


def outlive_streams() -> None:
    """Lets this process go on whatever becomes of its output; what is closed already leads nowhere.

    A descriptor of 0 to 2 that is free would be given to the next file that is opened, into which
    whoever writes to the standard streams would write then.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # which is the lowest that is free
            os.set_inheritable(opened, True)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, Lasting):
            if stream is None:
                stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 — to the end
            setattr(sys, name, Lasting(stream))
