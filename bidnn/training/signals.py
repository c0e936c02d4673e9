"""Signals that end a program or a training: taken over for a while, and given back."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from bidnn.errors import StoppedError

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
SAME_S = 0.5
"""Signals so soon after another are that one: the terminal sends one to the whole group, and who
started it perhaps another."""
GRACE_S = 5.0
"""For so long signals are ignored after one that stops at once: what is open is being closed."""

_deaf_until = 0.0


@contextmanager
def taken_over(handler: Callable[[int], None]) -> Iterator[None]:
    """Gives signals to a function as long as the block lasts, then back to whom they were before.

    Those that the program was told to ignore, as nohup does, stay ignored. Outside the main thread,
    where Python lets nobody take over signals, nothing is done.

    Args:
        handler: gets the signal's number; it ends the block by `end`.
    """
    before = take(handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def held_back() -> Iterator[None]:
    """Lets signals wait until the block ends, which must be short: then they are dealt with.

    Outside the main thread, which alone deals with signals, nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in SIGNALS}
    ours = {number: old for number, old in before.items() if callable(old)}
    for number in ours:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, old in ours.items():
            signal.signal(number, old)
        for late in came:
            signal.raise_signal(late)


def take(handler: Callable[[int], None]) -> dict[int, Any]:
    """As `taken_over`, for whoever gives them back himself.

    Returns:
        Who had each of the signals that were taken.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}

    def handle(number: int, _: FrameType | None) -> None:
        global _deaf_until  # noqa: PLW0603 — handlers are the process's own
        if time.monotonic() >= _deaf_until:
            _deaf_until = time.monotonic() + SAME_S
            handler(number)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    taken: dict[int, Any] = {
        number: old for number, old in before.items() if old not in (signal.SIG_IGN, None)
    }
    for number in taken:
        signal.signal(number, handle)
    return taken


def end(number: int, kept: str) -> NoReturn:
    """Stops at once; further signals are ignored while that goes on.

    Raises:
        StoppedError: always.
    """
    global _deaf_until  # noqa: PLW0603 — handlers are the process's own
    _deaf_until = time.monotonic() + GRACE_S
    raise StoppedError(number, kept)
