"""A model as a folder to share: `model.safetensors`, `config.json`, and a README card.

Nothing in it can be executed. Of tied weights each is stored once, since the network has it once.
"""

import hashlib
import json
import stat
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bidnn.errors import UserError
from bidnn.files import as_json, readable, whole_folder
from bidnn.model.description import (
    NOT_OURS,
    WeightsError,
    build_model,
    check_weights,
    describe_model,
)
from bidnn.model.model import Model

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
LIBRARY, FORMAT = "bidnn", 1
LARGEST_CONFIG = 2**20
"""Bytes; ours have some thousand."""
KINDS = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8}
"""Bytes of a weight, by the names that safetensors gives."""


def is_folder(path: Path) -> bool:
    """Whether this is such a folder, or a part of one."""
    return (path / CONFIG).is_file() or (path / WEIGHTS).is_file()


def check_new(path: Path, key: str) -> None:
    """Refuses a place where there is something already, before any work.

    Raises:
        UserError: naming it.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise UserError(f"{key}={path}: is there already; remove it, or name another folder")


def write_folder(path: Path, model: Model, notes: Mapping[str, Any], card: str) -> None:
    """Writes a model, whole or not at all.

    Args:
        path: the folder, which must not be there, or be empty.
        model: what is kept of it is all but its optimiser's state.
        notes: further plain data for `config.json`, by name.
        card: the README's text.

    Raises:
        UserError: if there is something already, or safetensors is not installed.
        OSError: if it cannot be written.
    """
    check_new(path, "folder")
    save_file = _safetensors("torch").save_file
    weights = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    with whole_folder(path) as part:
        save_file(weights, part / WEIGHTS, metadata={"format": "pt"})
        config = {
            "library_name": LIBRARY,
            "format": FORMAT,
            "bidnn_version": version("bidnn"),
            "sha256": _digest(part / WEIGHTS),
            "model": describe_model(model),
            **notes,
        }
        (part / CONFIG).write_text(as_json(config, indent=2) + "\n")
        (part / CARD).write_text(card)
        # safetensors lets nobody else read what it writes.
        (part / WEIGHTS).chmod(stat.S_IMODE((part / CONFIG).stat().st_mode))


def read_folder(path: Path) -> Model:
    """Reads a model, which may come from anybody.

    Returns:
        The model, on the CPU, in evaluation mode.

    Raises:
        FileNotFoundError: if one of the files is missing.
        UserError: if it is of another program, damaged, or of another shape than it says.
    """
    config, file = read_config(path), path / WEIGHTS
    if not file.is_file():
        raise FileNotFoundError(f"{file}: not there, but {CONFIG} is; fetch both again")
    try:
        with torch.device("meta"):  # without memory: the description may claim any size
            claimed = build_model(config["model"]).state_dict()
        _check_claims(file, claimed)
        weights = _read_weights(file, config["sha256"])
        check_weights(str(file), claimed, weights)
        model = build_model(config["model"])
    except WeightsError:
        raise
    except NOT_OURS as error:
        if isinstance(error, UserError) and str(error).startswith(str(file)):
            raise
        reason = repr(error).replace("\n", " ")
        raise UserError(
            f"{path / CONFIG}: no description of a model that this version of bidnn knows "
            f"({reason:.300})"
        ) from error
    model.load_state_dict(weights)
    return model.eval()


def read_config(path: Path) -> dict[str, Any]:
    """What `config.json` of a folder says, checked no further than that it is one of ours.

    Raises:
        FileNotFoundError: if there is none.
        UserError: if it is another program's, or damaged.
    """
    file = path / CONFIG
    if not file.is_file():
        raise FileNotFoundError(
            f"{file}: not there; a folder of save_pretrained has {CONFIG} and {WEIGHTS}, and a "
            "run's folder, or a saved model, is for bidnn.load"
        )
    if file.stat().st_size > LARGEST_CONFIG:
        raise UserError(f"{file}: of {file.stat().st_size} bytes, larger than any of bidnn's")
    with readable(file, "description of a model"):
        config = json.loads(file.read_bytes())
    if not isinstance(config, dict) or config.get("library_name") != LIBRARY:
        raise UserError(f"{file}: not of bidnn, which says library_name: {LIBRARY}")
    if config.get("format") != FORMAT:
        raise UserError(
            f"{file}: of format {config.get('format')!r:.40}, and this version of bidnn reads "
            f"{FORMAT}; install the version that wrote it ({config.get('bidnn_version')!r:.40})"
        )
    return config


def _check_claims(file: Path, claimed: Mapping[str, Tensor]) -> None:
    """Refuses other names, shapes and kinds by the head of the file, before any of it is read."""
    with readable(file, "file of weights"), _safetensors().safe_open(file, framework="pt") as head:
        found = {name: head.get_slice(name) for name in head.keys()}  # noqa: SIM118 — no mapping
        shapes = {name: (part.get_shape(), part.get_dtype()) for name, part in found.items()}
    for name in {**claimed, **shapes}:
        shape, kind = shapes.get(name, (None, None))
        own = list(claimed[name].shape) if name in claimed else None
        if own != shape or kind not in KINDS:
            raise WeightsError(
                f"{file}: {name} should be {own or 'absent'} by {CONFIG}, but is "
                f"{shape or 'absent'} ({kind}); the folder was altered"
            )


def _read_weights(file: Path, digest: object) -> dict[str, Tensor]:
    """All weights, after their file was found to be the one that the description is of."""
    with readable(file, "file of weights"):
        if _digest(file) != digest:
            raise UserError(f"not what {CONFIG} is of: its SHA-256 is another; fetch both again")
        weights: dict[str, Tensor] = _safetensors("torch").load_file(file)
        return weights


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _safetensors(part: str | None = None) -> Any:  # noqa: ANN401 — a module
    from importlib import import_module

    try:
        return import_module("safetensors" if part is None else f"safetensors.{part}")
    except ModuleNotFoundError as error:
        raise UserError(
            "a folder to share holds its weights by safetensors, which is not installed; pip "
            "install 'bidnn[hub]'"
        ) from error
