"""What a model says of itself, in plain data, and whether weights are those of such a model."""

import dataclasses
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar, get_args, get_type_hints

import torch
from torch import Tensor

from bidnn.architecture import NetworkConfig
from bidnn.data.store import Reading
from bidnn.errors import UserError
from bidnn.model.finishing import EmbeddingConfig
from bidnn.model.model import Model
from bidnn.model.scaling import ScalingConfig, ScalingKind, Transform

Config = TypeVar("Config")
NOT_OURS = (LookupError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError)
"""What `build_model` raises over a description that is not one of `describe_model`."""

LATER = {"solved": False, "landmarks": 0, "stacked": False}
"""What models that were saved before there was such a setting have."""


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
    for name, kind in (("mod1size", int), ("mod2size", int), ("l2_norm", bool)):
        if type(description[name]) is not kind:
            raise TypeError(f"{name} is {description[name]!r:.40}, not {kind.__name__}")
    model = Model(
        description["mod1size"],
        description["mod2size"],
        _typed(NetworkConfig, description["network"]),
        ScalingConfig(kind=ScalingKind(description["scaling"])),
        _typed(EmbeddingConfig, LATER | description["embedding"]),
    )
    first, second = (Transform(value) for value in description["transforms"])
    model.first_scaler.transform, model.second_scaler.transform = first, second
    model.reading = _typed(Reading, description["reading"])
    model.l2_norm = description["l2_norm"]
    return model


def _plain(config: Any) -> dict[str, Any]:  # noqa: ANN401 — a dataclass
    fields = dataclasses.asdict(config)
    return {k: v.value if isinstance(v, Enum) else v for k, v in fields.items()}


def _typed(kind: type[Config], fields: dict[str, Any]) -> Config:
    """The dataclass of plain fields: strings become the enumerations they stand for."""
    values = dict(fields)
    for name, hint in get_type_hints(kind).items():
        choices = get_args(hint) or (hint,)
        for choice in choices:
            if issubclass(choice, Enum) and values[name] is not None:
                values[name] = choice(values[name])
        given = type(values[name])
        if given not in choices and not (given is int and float in choices):
            raise TypeError(f"{name} is {values[name]!r:.40}, not {choices[0].__name__}")
    return kind(**values)


def check_weights(name: str, expected: Mapping[str, Tensor], found: Mapping[str, Any]) -> None:
    """Refuses weights of other names, shapes or kinds than a network's, and what is not finite.

    Args:
        name: where they are, for the message.
        expected: tensors of the right shapes.
        found: what there is.

    Raises:
        WeightsError: naming the first that is not as it should be.
    """
    if any("stacked.waves" in key for key in expected.keys() - found.keys()) and any(
        key.endswith("stacked.shares") for key in found
    ):
        raise WeightsError(f"{name}: written by an earlier version of bidnn; train it again")
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


def _shape(value: Any) -> str:  # noqa: ANN401 — a tensor, or whatever is in its place
    shape = getattr(value, "shape", None)
    return "absent" if shape is None else str(tuple(shape))
