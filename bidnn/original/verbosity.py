"""The original's verbosity, 0 to 3, as levels of our log."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

LEVELS = (logging.ERROR, logging.WARNING, logging.INFO, logging.INFO)


@contextmanager
def said(verbosity: int) -> Iterator[None]:
    """Lets our log say as much as `verbosity` allows, for a while."""
    log = logging.getLogger("bidnn")
    before = log.level
    log.setLevel(LEVELS[max(0, min(verbosity, 3))])
    try:
        yield
    finally:
        log.setLevel(before)
