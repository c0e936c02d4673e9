"""Trained models as files: weights, scaling and what they are, as data that is never executed.

A bundle is what Lightning calls a checkpoint, less what only training needs: `hyper_parameters`
(plain dictionaries) and `state_dict`. One reader serves both.
"""

import dataclasses
import pickle
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch

from bidnn.data.scaling import ScalingKind
from bidnn.files import whole_file
from bidnn.inference import MissingStrategy, Model
from bidnn.network import Activation, NetworkConfig

PREFIX = "model."


@dataclass(frozen=True, slots=True)
class Trained:
    """A model and the strategy for missing modalities that it is used with."""

    model: Model
    strategy: MissingStrategy


def describe_model(model: Model, strategy: MissingStrategy) -> dict[str, Any]:
    """Plain dictionaries from which `build_model` makes the same model, untrained."""
    network = dataclasses.asdict(model.network.config)
    return {
        "mod1size": model.mod1size,
        "mod2size": model.mod2size,
        "network": {k: v.value if isinstance(v, Enum) else v for k, v in network.items()},
        "scaling": model.first_scaler.kind.value,
        "missing": strategy.value,
    }


def build_model(description: dict[str, Any]) -> Trained:
    """The reverse of `describe_model`.

    Raises:
        KeyError, TypeError, ValueError: if something in the description is not as it was written.
    """
    fields = dict(description["network"])
    fields["activation"] = Activation(fields["activation"])
    if fields["output_activation"] is not None:
        fields["output_activation"] = Activation(fields["output_activation"])
    model = Model(
        description["mod1size"],
        description["mod2size"],
        NetworkConfig(**fields),
        ScalingKind(description["scaling"]),
    )
    return Trained(model, MissingStrategy(description["missing"]))


def save_bundle(path: Path, trained: Trained) -> None:
    """Writes a model, whole or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    state = {PREFIX + name: value.cpu() for name, value in trained.model.state_dict().items()}
    content = {
        "hyper_parameters": describe_model(trained.model, trained.strategy),
        "state_dict": state,
    }
    with whole_file(path) as file:
        torch.save(content, file)


def load_bundle(path: Path) -> Trained:
    """Reads a bundle, a Lightning checkpoint of ours, or a run's folder.

    Args:
        path: the file, or a folder in which `checkpoints/last.ckpt` is.

    Returns:
        The model, on the CPU, in evaluation mode.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is something else, damaged, or of another shape than it says.
    """
    file = path / "checkpoints" / "last.ckpt" if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such model; give a run's folder or a checkpoint in it")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        description, state = content["hyper_parameters"], content["state_dict"]
        trained = build_model(description)
    except (pickle.UnpicklingError, RuntimeError, EOFError, BadZipFile) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{file}: not a readable checkpoint ({reason})") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{file}: a checkpoint, but not one of bidnn's ({error!r})") from error
    weights = {k.removeprefix(PREFIX): v for k, v in state.items() if k.startswith(PREFIX)}
    expected = {name: value.shape for name, value in trained.model.state_dict().items()}
    found = {name: value.shape for name, value in weights.items()}
    for name in expected | found:
        if expected.get(name) != found.get(name):
            raise ValueError(
                f"{file}: {name} should be {_shape(expected.get(name))} by the model's own "
                f"description, but is {_shape(found.get(name))}; the file was altered"
            )
    trained.model.load_state_dict(weights)
    trained.model.eval()
    return trained


def check_settings(path: Path, model: Model, network: NetworkConfig, scaling: ScalingKind) -> None:
    """Refuses a loaded model that is not what was asked for; takes over the dropout, a training's.

    Args:
        path: where the model was, for the message.
        model: the loaded model.
        network: the architecture that was asked for.
        scaling: likewise.

    Raises:
        ValueError: naming the settings that the model was trained with.
    """
    found = {f"model.{k}": v for k, v in dataclasses.asdict(model.network.config).items()}
    asked = {f"model.{k}": v for k, v in dataclasses.asdict(network).items()}
    found["scaling"], asked["scaling"] = model.first_scaler.kind, scaling
    differ = [k for k in found if found[k] != asked[k] and k != "model.dropout"]
    if differ:
        settings = " ".join(f"{key}={_text(found[key])}" for key in differ)
        raise ValueError(f"{path}: a model with other settings than these; set {settings}")
    model.network.config.dropout = network.dropout


def _text(value: Any) -> str:  # noqa: ANN401 — any value of a configuration
    plain = value.value if isinstance(value, Enum) else value
    if isinstance(plain, bool) or plain is None:
        return {True: "true", False: "false", None: "null"}[plain]
    return str(plain)


def _shape(shape: torch.Size | None) -> str:
    return "absent" if shape is None else str(tuple(shape))
