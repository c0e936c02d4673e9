"""What a training leaves in its folder, compared with what another one left."""

import json
import re
from pathlib import Path
from typing import Any

import torch

KEPT = ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "metrics")
"""Of a checkpoint. Its callbacks' states name the folder, and Lightning's `epoch` is one less where
a run was interrupted in its last epoch's end."""
OF_ONE_RUN = ("config.yaml", "run.json", "train.log", "report.html")
"""Files that name the run; the log is compared by its lines."""


def differences(alone: Path, other: Path, said: set[str]) -> list[str]:
    """What a run lost, changed or left over, in words; empty if nothing.

    Args:
        alone: the folder around a run that was left alone.
        other: the same of a run that was interrupted and resumed.
        said: what that one logged, by `log_lines`.
    """
    expected, found = _files(alone / "run"), _files(other / "run")
    lost = [f"no {name}" for name in sorted(expected - found)]
    left = [f"{_sort(name)} is left" for name in sorted(found - expected)]
    changed = [
        f"other {name}{part}"
        for name in sorted(expected & found)
        for part in _changed(alone / "run" / name, other / "run" / name)
    ]
    commands = {path.name for path in alone.glob("begun-*")}
    unrun = sorted(commands - {path.name for path in other.glob("begun-*")})
    unsaid = sorted(log_lines(alone / "run", "") - said)
    return [
        *(lost + left + changed),
        *(f"no command {name.removeprefix('begun-')}" for name in unrun),
        *(f"not logged: {line}" for line in unsaid),
    ]


def is_reported(differs: str, said: set[str], *, steers: bool) -> bool:
    """Whether a difference is the loss of outputs at an interval that the run itself reported.

    A full disk may leave room for a checkpoint, and none for the output before it: the run says so,
    does not run the command, and lacks its metrics.

    Args:
        differs: of `differences`.
        said: what the run logged.
        steers: the command's metric decides which weights are best, and when the training stops.
    """
    epochs = re.findall(r"embedding_(\d+)\.npz: the output could not be written", "\n".join(said))
    if not epochs:
        return False
    own = [f"{text}{epoch}" for epoch in epochs for text in ("embedding_", "command ", ".sh ")]
    metrics = ("ckpt: metrics", "metrics.csv", "metrics.json")
    lacks = any(text in differs for text in own) or differs.startswith("not logged: | {")
    return lacks or differs.endswith(metrics) or steers


def log_lines(run: Path, err: str) -> set[str]:
    """The messages of a run's log, and of what it said, without times and the folder's name."""
    path = run / "train.log"
    lines = (
        [*path.read_text().splitlines(), *err.splitlines()] if path.exists() else err.splitlines()
    )
    return {message for line in lines if (message := _message(line))}


def _message(line: str) -> str:
    found = re.match(r"(?:\d{4}-\S+ \S+ [A-Z]+\s+\S+: |\d\d:\d\d:\d\d [A-Z]+\s+)(.*)", line)
    if found is None:
        return ""
    message = re.sub(r"\S+/(?:draw|alone)-\d+\b", "FOLDER", found[1])
    return re.sub(r"\d+\.\d s\b", "N s", message)


def _files(run: Path) -> set[str]:
    return {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}


def _sort(name: str) -> str:
    return re.sub(r"[0-9a-f]{8}\.part", "X.part", name)


def _changed(alone: Path, other: Path) -> list[str]:
    """What differs between two files: the keys of a checkpoint, or just that they do."""
    if alone.name in OF_ONE_RUN:
        return []
    if alone.name == "history.json":  # whose warnings name a full disk
        first, second = (json.loads(path.read_text())["epochs"] for path in (alone, other))
        return [] if first == second else [": epochs"]
    if alone.suffix != ".ckpt":
        return [""] if alone.read_bytes() != other.read_bytes() else []
    first, second = (torch.load(p, map_location="cpu", weights_only=True) for p in (alone, other))
    return [f": {key}" for key in KEPT if _plain(first[key]) != _plain(second[key])]


def _plain(value: Any) -> Any:  # noqa: ANN401 — likewise
    if isinstance(value, torch.Tensor):
        return (str(value.dtype), tuple(value.shape), value.numpy().tobytes())
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value
