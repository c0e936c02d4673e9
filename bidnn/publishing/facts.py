"""What is known of a model's training, for its card: the rows, what was measured, by what."""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from bidnn.errors import UserError
from bidnn.files import readable
from bidnn.training.record import METRICS_FILE
from bidnn.training.record import NAME as RECORD_FILE

MOST = 1000
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Training:
    """A training, as far as it was recorded; paths and machines are left out.

    Attributes:
        rows: how many there were; None where that is not known.
        complete: how many of them had both modalities.
        fingerprint: SHA-256 of the rows, see `training.record.describe_data`.
        metrics: what was logged last, by name.
        versions: of the packages, by name.
    """

    rows: int | None = None
    complete: int | None = None
    fingerprint: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_rows(cls, data: Mapping[str, Any], metrics: Mapping[str, float]) -> Self:
        """A training of this process.

        Args:
            data: of its rows, from `training.record.describe_data`.
            metrics: what was measured.
        """
        return cls.parsed({**_of_data(data), "metrics": metrics}, "the training")

    @classmethod
    def of_run(cls, path: Path) -> Self:
        """The training whose folder, or checkpoint, this is; of others nothing is known.

        Raises:
            UserError: if the run's files are damaged.
        """
        folder = path
        if path.suffix == ".ckpt" and path.parent.name == "checkpoints":
            folder = path.parent.parent
        read = {name: _json_of(folder / name) for name in (RECORD_FILE, METRICS_FILE)}
        record, metrics = read[RECORD_FILE], read[METRICS_FILE]
        given = {**_of_data(record.get("data") or {}), "versions": record.get("versions") or {}}
        return cls.parsed({**given, "metrics": metrics}, str(folder / RECORD_FILE))

    @classmethod
    def parsed(cls, plain: Any, where: str) -> Self:  # noqa: ANN401 — whatever a file says
        """The same of plain data, which may come from anybody.

        Args:
            plain: by the names of the attributes; other names are left out.
            where: it was found, for the message.

        Raises:
            UserError: naming what is not as it was written.
        """
        plain = {} if plain is None else plain
        if not isinstance(plain, Mapping):
            raise UserError(f"{where}: what it says of the training is {type(plain).__name__}")
        given = {name: plain[name] for name in cls.__slots__ if plain.get(name) is not None}
        for name, value in given.items():
            if not _CHECKS[name](value):
                raise UserError(f"{where}: {name} of the training is not as it was written")
        finite = {
            name: float(value)
            for name, value in given.pop("metrics", {}).items()
            if value is not None and math.isfinite(value)
        }
        return cls(**given, metrics=dict(sorted(finite.items())))

    def plain(self) -> dict[str, Any]:
        """For a file; the reverse of `parsed`."""
        return asdict(self)


def _of_data(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: data.get(name) for name in ("rows", "complete", "fingerprint")}


def _json_of(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    with readable(file, "record of a run"):
        found = json.loads(file.read_bytes())
    return found if isinstance(found, dict) else {}


def _count(value: object) -> bool:
    return type(value) is int and value >= 0


def _named(of: Callable[[object], bool]) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:  # noqa: ANN401 — whatever a file says
        return (
            isinstance(value, Mapping)
            and len(value) <= MOST
            and all(isinstance(name, str) and _NAME.fullmatch(name) for name in value)
            and all(of(part) for part in value.values())
        )

    return check


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "rows": _count,
    "complete": _count,
    "fingerprint": lambda value: isinstance(value, str) and _HEX.fullmatch(value) is not None,
    "metrics": _named(lambda part: part is None or type(part) in (int, float)),
    "versions": _named(lambda part: isinstance(part, str) and _NAME.fullmatch(part) is not None),
}
