"""What a run left in its folder: settings, record, metrics, history."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bidnn.errors import UserError
from bidnn.files import readable
from bidnn.model.saved import checkpoint_files
from bidnn.training.history import History, read_history
from bidnn.training.record import METRICS_FILE, NAME, SETTINGS_FILE
from bidnn.training.resuming import Begun, read_metrics

MOST_RUNS = 500
TRIALS = "trials"
"""Where the runs of a search are, in its folder."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What the last checkpoint of a run that is not at its end says of it.

    Attributes:
        epochs: that were trained whole.
        steps: of the optimiser.
        when: it was written, as local time.
    """

    epochs: int
    steps: int
    when: str


@dataclass(frozen=True, slots=True)
class Run:
    """A run's folder, read.

    Attributes:
        folder: where it is.
        settings: as they were written, nested.
        record: what `run.json` says; empty if there is none.
        metrics: the last of each, by name; none if the run did not come to its end.
        epochs: what was logged, an entry an epoch, of long trainings every few; each has `epoch`.
        warnings: what was warned of.
        kept: how far it had come, if it is not at its end and a checkpoint tells.
    """

    folder: Path
    settings: Mapping[str, Any]
    record: Mapping[str, Any]
    metrics: Mapping[str, float]
    epochs: list[dict[str, float]]
    warnings: list[str]
    kept: Kept | None = None

    @classmethod
    def read(cls, folder: Path) -> "Run":
        """Reads it.

        Raises:
            UserError: if it is no run's folder, or a file in it is damaged.
        """
        path = folder / SETTINGS_FILE
        if not path.is_file():
            raise UserError(f"{folder}: no run's folder, there is no {SETTINGS_FILE} in it")
        with readable(path, "settings"):
            settings = _yaml(path.read_bytes())
        record: dict[str, Any] = {}
        if (folder / NAME).is_file():
            with readable(folder / NAME, "record"):
                record = json.loads((folder / NAME).read_text())
        history, metrics, kept = read_history(folder), read_metrics(folder), None
        if metrics is None:  # its history is still in the checkpoint
            kept, history = _kept(folder, history)
        return cls(folder, settings, record, metrics or {}, history.epochs, history.warnings, kept)

    @property
    def finished(self) -> str:
        """When its metrics were written, as local time; empty if they were not."""
        path = self.folder / METRICS_FILE
        return _when(path) if path.is_file() else ""

    @property
    def command(self) -> str:
        """What repeats it; empty if its record does not say."""
        return str(self.record.get("command") or "")

    def setting(self, key: str) -> Any:  # noqa: ANN401 — whatever was set
        """The setting of a dotted key; None if there is none."""
        node: Any = self.settings
        for part in key.split("."):
            node = node.get(part) if isinstance(node, Mapping) else None
        return node

    def flat(self) -> dict[str, Any]:
        """All settings by dotted key."""
        return dict(_flat(self.settings, ""))

    def series(self, name: str) -> list[tuple[int, float]]:
        """Epochs, from 1, and what a metric was after them."""
        found = [(int(entry["epoch"]), entry[name]) for entry in self.epochs if name in entry]
        return [(epoch, value) for epoch, value in found if math.isfinite(value)]


def _kept(folder: Path, history: History) -> tuple[Kept | None, History]:
    """What the last checkpoint tells; what was given, if it cannot be gone on with."""
    last = checkpoint_files(folder)[-1]
    try:
        begun, when = Begun.read(last), _when(last)
    except (UserError, FileNotFoundError):
        return None, history
    found = History()
    found.restore(begun.history)
    return Kept(begun.epochs, begun.steps, when), found


def _when(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime).astimezone().strftime("%Y-%m-%d %H:%M")


def runs_in(folder: Path) -> list[Path]:
    """The folder itself if it is a run's, else those of the runs in it, as of a sweep or a search.

    Raises:
        UserError: if there are none.
    """
    if (folder / SETTINGS_FILE).is_file():
        return [folder]
    if (folder / TRIALS).is_dir():
        return runs_in(folder / TRIALS)
    inside = sorted(folder.iterdir(), key=_natural) if folder.is_dir() else []
    found = [path for path in inside if (path / SETTINGS_FILE).is_file()]
    if not found:
        raise UserError(
            f"{folder}: neither a run's folder nor one with runs in it; a run's has {SETTINGS_FILE}"
        )
    return found[:MOST_RUNS]


def _natural(path: Path) -> tuple[int, str]:
    return (int(path.name) if path.name.isdecimal() else 0, path.name)


def _yaml(content: bytes) -> dict[str, Any]:
    import yaml

    found = yaml.load(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    if not isinstance(found, dict):
        raise UserError("no settings by name")
    return found


def _flat(node: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        key = f"{above}.{name}" if above else str(name)
        if isinstance(value, Mapping):
            yield from _flat(value, key)
        else:
            yield key, value
