"""Trained models as files: weights, scaling and what they are, as data that is never executed.

A bundle is what Lightning calls a checkpoint, less what only training needs: `hyper_parameters`
(plain dictionaries) and `state_dict`. One reader serves both.
"""

import dataclasses
import logging
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints
from zipfile import ZipFile, is_zipfile

import torch
from torch import Tensor

from bidnn.architecture import NetworkConfig
from bidnn.data.store import Reading
from bidnn.errors import UserError
from bidnn.files import readable, whole_file
from bidnn.model.finishing import EmbeddingConfig
from bidnn.model.model import Model
from bidnn.model.scaling import ScalingConfig, ScalingKind, Transform

log = logging.getLogger(__name__)

PREFIX = "model."
CHANGEABLE = ("embedding.missing",)
TRAINING_ONLY = ("model.dropout", "model.input_dropout")
Config = TypeVar("Config")


class WeightsError(UserError):
    """Weights that are not those of the model that they are said to be of."""


def describe_model(model: Model) -> dict[str, Any]:
    """Plain dictionaries from which `build_model` makes the same model, untrained."""
    scalers = (model.first_scaler, model.second_scaler)
    return {
        "mod1size": model.mod1size,
        "mod2size": model.mod2size,
        "network": _plain(model.network.config),
        "scaling": model.first_scaler.kind.value,
        "transforms": [scaler.transform.value for scaler in scalers],
        "embedding": _plain(model.finish.config),
        "reading": _plain(model.reading),
        "l2_norm": model.l2_norm,
    }


def build_model(description: dict[str, Any]) -> Model:
    """The reverse of `describe_model`.

    Raises:
        KeyError, TypeError, ValueError: if something in the description is not as it was written.
    """
    model = Model(
        description["mod1size"],
        description["mod2size"],
        _typed(NetworkConfig, description["network"]),
        ScalingConfig(kind=ScalingKind(description["scaling"])),
        _typed(EmbeddingConfig, description["embedding"]),
    )
    first, second = (Transform(value) for value in description["transforms"])
    model.first_scaler.transform, model.second_scaler.transform = first, second
    model.reading = _typed(Reading, description["reading"])
    model.l2_norm = bool(description["l2_norm"])
    return model


def _plain(config: Any) -> dict[str, Any]:  # noqa: ANN401 — a dataclass
    fields = dataclasses.asdict(config)
    return {k: v.value if isinstance(v, Enum) else v for k, v in fields.items()}


def _typed(kind: type[Config], fields: dict[str, Any]) -> Config:
    """The dataclass of plain fields: strings become the enumerations they stand for."""
    values = dict(fields)
    for name, hint in get_type_hints(kind).items():
        for choice in (hint, *get_args(hint)):
            if isinstance(choice, type) and issubclass(choice, Enum) and values[name] is not None:
                values[name] = choice(values[name])
    return kind(**values)


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
    """Reads a bundle, a Lightning checkpoint of ours, or a run's folder.

    Args:
        path: the file, or a folder in which `checkpoints/best.ckpt` or `last.ckpt` is.

    Returns:
        The model, on the CPU, in evaluation mode.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is something else, damaged, or of another shape than it says.
    """
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
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        RuntimeError,
        OverflowError,
    ) as error:
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


def check_weights(name: str, expected: Mapping[str, Tensor], found: Mapping[str, Any]) -> None:
    """Refuses weights of other names, shapes or kinds than a network's, and what is not finite.

    Args:
        name: where they are, for the message.
        expected: tensors of the right shapes.
        found: what there is.

    Raises:
        WeightsError: naming the first that is not as it should be.
    """
    for key in {**expected, **found}:
        own, other = expected.get(key), found.get(key)
        if own is None or own.shape != getattr(other, "shape", None):
            raise WeightsError(
                f"{name}: {key} should be {_shape(own)} by the model's own "
                f"description, but is {_shape(other)}; the file was altered"
            )
    for key, values in found.items():
        dense = values.layout is torch.strided and values.device.type != "meta"
        # One value in the file can stand for a tensor of any size.
        whole = dense and values.untyped_storage().nbytes() >= values.nbytes
        if not whole or not values.is_floating_point():
            raise WeightsError(
                f"{name}: {key} holds other than one floating-point number for each place "
                f"({values.dtype}, {values.layout}); the file was altered"
            )
        if not bool(values.isfinite().all()):
            raise WeightsError(
                f"{name}: {key} holds infinities or NaN; the training that wrote it diverged, or "
                "the file was altered"
            )


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
    """A run's best and last checkpoint; of what is no folder, the file itself."""
    if not path.is_dir():
        return [path]
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


def _shape(value: Any) -> str:  # noqa: ANN401 — a tensor, or whatever is in its place
    shape = getattr(value, "shape", None)
    return "absent" if shape is None else str(tuple(shape))
