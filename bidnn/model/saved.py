"""Trained models as files: weights, scaling and what they are, as data that is never executed.

A bundle is what Lightning calls a checkpoint, less what only training needs: `hyper_parameters`
(plain dictionaries) and `state_dict`. One reader serves both.
"""

import dataclasses
import logging
from pathlib import Path
from typing import Any
from zipfile import ZipFile, is_zipfile

import torch

from bidnn.data.store import Reading
from bidnn.errors import UserError
from bidnn.files import readable, whole_file
from bidnn.model import pretrained
from bidnn.model.description import (
    NOT_OURS,
    WeightsError,
    build_model,
    check_weights,
    describe_model,
)
from bidnn.model.model import Model

log = logging.getLogger(__name__)

PREFIX = "model."
CHANGEABLE = ("embedding.missing",)
TRAINING_ONLY = ("model.dropout", "model.input_dropout")


def save_bundle(path: Path, model: Model) -> None:
    """Writes a model, whole or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    state = {PREFIX + name: value.cpu() for name, value in model.state_dict().items()}
    content = {
        "hyper_parameters": describe_model(model),
        "state_dict": state,
    }
    with whole_file(path) as file:
        torch.save(content, file)


def load_bundle(path: Path) -> Model:
    """Reads a bundle, a Lightning checkpoint of ours, a run's folder, or one to share.

    Args:
        path: the file, or a folder in which `checkpoints/best.ckpt` or `last.ckpt` is, or which
            `pretrained.write_folder` wrote.

    Returns:
        The model, on the CPU, in evaluation mode.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is something else, damaged, or of another shape than it says.
    """
    if pretrained.is_folder(path):
        return pretrained.read_folder(path)
    file = run_checkpoint(path) if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such model; give a run's folder or a checkpoint in it")
    content = read_checkpoint(file)
    described = (isinstance(content, dict) and content.get("hyper_parameters")) or ()
    if "missing" in described or ("network" in described and "reading" not in described):
        raise UserError(f"{file}: written by an earlier version of bidnn; train it again")
    try:
        with torch.device("meta"):  # without memory: the description may claim any size
            claimed = build_model(content["hyper_parameters"])
        state = dict(content["state_dict"])
        weights = {k.removeprefix(PREFIX): v for k, v in state.items() if k.startswith(PREFIX)}
        check_weights(str(file), claimed.state_dict(), weights)
        model = build_model(content["hyper_parameters"])
    except WeightsError:
        raise
    except NOT_OURS as error:
        reason = repr(error).replace("\n", " ")
        raise UserError(f"{file}: a checkpoint, but not one of bidnn's ({reason})") from error
    model.load_state_dict(weights)
    model.eval()
    return model


def read_checkpoint(path: Path) -> Any:  # noqa: ANN401 — whatever was saved
    """What `torch.save` wrote, as data on the CPU; nothing in it is executed.

    Raises:
        UserError: if it is something else, damaged, or claims to hold more than the file does.
        OSError: if it cannot be read.
    """
    with readable(path, "checkpoint"):
        if not is_zipfile(path):  # torch would try its old, unzipped format
            raise UserError("no zip archive, or cut off")
        with ZipFile(path) as archive:
            parts = archive.infolist()
            if sum(part.file_size for part in parts) > path.stat().st_size:
                raise UserError("it claims to hold more than the file does")
            if damaged := archive.testzip():
                raise UserError(f"its part {damaged} is damaged")
            for part in parts:  # a class of which any size takes a few bytes
                if part.filename.endswith(".pkl") and b"\nbytearray\n" in archive.read(part):
                    raise UserError("it holds a bytearray, as none of ours does")
        return torch.load(path, map_location="cpu", weights_only=True)


def reading_of(path: Path) -> Reading:
    """How the rows of a saved model were read; a model file of the original does not say."""
    return Reading() if path.suffix == ".npz" else load_bundle(path).reading


def run_checkpoint(folder: Path) -> Path:
    """The checkpoint of a run's folder that is to be used: the best where there is one."""
    best, last = checkpoint_files(folder)
    if best.is_file():
        log.info("%s: the best checkpoint is taken; there may be a later one beside it", best)
        return best
    return last


def checkpoint_files(path: Path) -> list[Path]:
    """A run's best and last checkpoint, or the files of another folder; else the file itself."""
    if not path.is_dir():
        return [path]
    if pretrained.is_folder(path):
        return [path / name for name in (pretrained.WEIGHTS, pretrained.CONFIG)]
    return [path / "checkpoints" / name for name in ("best.ckpt", "last.ckpt")]


def check_settings(path: Path, model: Model, asked: Model) -> None:
    """Refuses a loaded model that is not what was asked for; takes over what may change.

    Args:
        path: where the model was, for the message.
        model: the loaded model.
        asked: a model of the configuration that was asked for.

    Raises:
        ValueError: naming the settings that the model was trained with.
    """
    found, wanted = _settings(model), _settings(asked)
    differ = [
        key
        for key in found
        if found[key] != wanted[key] and key not in (*TRAINING_ONLY, *CHANGEABLE)
    ]
    if wanted["scaling.transform"] in ("auto", "auto_sqrt"):
        differ = [key for key in differ if key != "scaling.transform"]
    if differ:
        settings = " ".join(f"{key}={_text(found[key])}" for key in differ)
        raise UserError(f"{path}: a model with other settings than these; set {settings}")
    for key in TRAINING_ONLY:
        name = key.removeprefix("model.")
        setattr(model.network.config, name, getattr(asked.network.config, name))
    model.finish.config = dataclasses.replace(model.finish.config, missing=asked.missing)


def _settings(model: Model) -> dict[str, Any]:
    described = describe_model(model)
    settings = {f"model.{key}": value for key, value in described["network"].items()}
    settings |= {f"embedding.{key}": value for key, value in described["embedding"].items()}
    transforms = described["transforms"]
    same = transforms[0] == transforms[1]
    return settings | {
        "scaling.kind": described["scaling"],
        "scaling.transform": transforms[0] if same else "auto",
    }


def _text(value: Any) -> str:  # noqa: ANN401 — any value of a configuration
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)
