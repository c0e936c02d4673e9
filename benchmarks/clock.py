"""When each epoch of a program ended, in processor time."""

import json
import time
from pathlib import Path

from lightning import Callback


class Clock(Callback):
    """Notes it, and writes it down in the end."""

    by_chunks = True

    def __init__(self, path: str) -> None:
        """Nothing noted yet.

        Args:
            path: of a JSON file, a list of seconds.
        """
        self.path = Path(path)
        self.ends: list[float] = []

    def on_train_epoch_end(self, *_: object) -> None:
        """Notes one."""
        self.ends.append(time.process_time())

    def on_train_end(self, *_: object) -> None:
        """Writes all."""
        self.path.write_text(json.dumps(self.ends))
