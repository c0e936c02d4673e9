"""What is needed to repeat a run, kept in its folder as `config.yaml` and `run.json`."""

import hashlib
import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.files import as_json, whole_file
from bidnn.model.description import LATER

NAME = "run.json"
SOURCE = "source"
SETTINGS_FILE = "config.yaml"
METRICS_FILE = "metrics.json"
SAMPLE_BYTES = 64 * 2**20
PACKAGES = ("bidnn", "torch", "lightning", "hydra-core", "omegaconf", "numpy", "scipy")
ROOT = Path(__file__).resolve().parents[2]
MAY_CHANGE = (
    *("data.path", "data.second_path", "data.first", "data.second", "data.label"),
    *("data.id", "data.ids", "data.cache", "data.first_shape", "data.second_shape"),
)


def write_record(
    folder: Path,
    store: PairStore | None,
    settings: dict[str, Any] | None = None,
    command: str | None = None,
    source: str | None = None,
) -> None:
    """Writes the record of a run.

    Args:
        folder: of the run.
        store: its rows; None if they are of many files, each for itself.
        settings: of the run, where they are not in a file of their own.
        command: what repeats it; None: the command of this process.
        source: which of the sources of `data=` its rows come from; None: an own one.
    """
    record = {
        **({} if settings is None else {"settings": settings}),
        "data": None if store is None else describe_data(store),
        SOURCE: source,
        "versions": {"python": platform.python_version(), **{p: version(p) for p in PACKAGES}},
        "machine": {
            "platform": platform.platform(),
            "processor": torch.cpu.get_capabilities().get("cpu_name"),
            "threads": torch.get_num_threads(),
            "gpus": [
                torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())
            ],
        },
        "git": _git(),
        "arguments": sys.argv[1:],
        "command": command or shlex.join(["python", *sys.argv]),
        "began_in": str(Path.cwd()),
    }
    with whole_file(folder / NAME) as file:
        file.write(as_json(record, indent=2).encode() + b"\n")


def check_no_training(folder: Path) -> None:
    """Refuses the folder of a training to another program, which would replace its record.

    Raises:
        UserError: naming it.
    """
    if (folder / SETTINGS_FILE).exists():
        raise UserError(
            f"hydra.run.dir={folder}: the folder of a training, whose record {NAME} would be lost; "
            "choose another one, and output.path for the file"
        )


def describe_run(settings: dict[str, Any], store: PairStore) -> dict[str, Any]:
    """What a run's checkpoints say of it, in plain types: its files may be of a later run."""
    plain: dict[str, Any] = json.loads(json.dumps(settings, default=str))
    return {"settings": plain, "data": describe_data(store)}


def check_record(folder: Path, begun: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuses to go on with a run under other settings, or with other rows.

    Args:
        folder: of the run that is resumed.
        begun: what its checkpoint says of it, from `describe_run`.
        now: the same of the run that is to go on.

    Raises:
        ValueError: naming what differs.
    """
    settings = now["settings"]
    later = {f"embedding.{name}": value for name, value in LATER.items()}
    before = {key: later[key] for key in later if key in settings} | begun["settings"]
    # Those of earlier versions do not say how steps were taken.
    unsaid = {key for key in settings if key.startswith("trainer.") and key not in before}
    keys = [key for key in (before | settings) if key not in {*MAY_CHANGE, *unsaid}]
    differ = [key for key in keys if before.get(key) != settings.get(key)]
    if differ:
        was = " ".join(f"{key}={json.dumps(before.get(key))}" for key in differ)
        raise UserError(
            f"{folder}: the run to resume was begun with {was}; set that, or start anew from its "
            f"weights with checkpoint={folder}"
        )
    if begun["data"] != now["data"]:
        raise UserError(
            f"{folder}: the run to resume was begun with other rows than there are now "
            f"({begun['data']['rows']} and {now['data']['rows']}); give it its own again"
        )


def describe_data(store: PairStore) -> dict[str, Any]:
    """Shapes, and a fingerprint: SHA-256 of which rows are present and of up to 64 MiB of them."""
    digest = hashlib.sha256(np.ascontiguousarray(store.present).data)
    step = -(-len(store) // store.rows_in(SAMPLE_BYTES)) if len(store) else 1
    rows = np.arange(0, len(store), step)
    for part in np.array_split(rows, max(1, len(rows) // 4096)):
        for values in store.take(part):
            digest.update(np.ascontiguousarray(values).data)
    return {
        "rows": len(store),
        "complete": int(store.is_complete.sum()),
        "columns": [store.mod1size, store.mod2size],
        "fingerprint": digest.hexdigest(),
    }


def plain_settings(value: Any, key: str = "") -> dict[str, Any]:  # noqa: ANN401 — any setting
    """The fields of dataclasses and dictionaries by dotted key, choices by their names."""
    if is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, dict):
        found: dict[str, Any] = {}
        for name, content in value.items():
            found |= plain_settings(content, f"{key}.{name}" if key else str(name))
        return found
    return {key: value.value if isinstance(value, Enum) else value}


def _git() -> dict[str, Any] | None:
    """The commit that the program is at, where it is in a repository of its own."""
    if not (ROOT / ".git").exists():  # installed, perhaps within another project's repository
        return None

    def ask(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return {"commit": ask("rev-parse", "HEAD"), "changed": bool(ask("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None
