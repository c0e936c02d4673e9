"""What an output says of the model that it is of, and which model that is to the byte."""

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from bidnn.errors import UserError
from bidnn.model.description import describe_model
from bidnn.model.inference import OutputKind
from bidnn.model.model import Model

PREFIX = "bidnn."
NAMES = ("kind", "l2_norm", "model", "mod1size", "mod2size", "hdn", "rep", "missing", "weights")
SAID = tuple(f"{PREFIX}{name}" for name in NAMES)
"""What is compared: all that `about` says but the version."""


def about(model: Model, kind: OutputKind, *, l2_norm: bool) -> dict[str, str]:
    """Texts by name, for the metadata of a file."""
    network = model.network.config
    return {
        f"{PREFIX}version": version("bidnn"),
        f"{PREFIX}kind": kind.value,
        f"{PREFIX}l2_norm": str(l2_norm).lower(),
        f"{PREFIX}model": network.architecture.value,
        f"{PREFIX}mod1size": str(model.mod1size),
        f"{PREFIX}mod2size": str(model.mod2size),
        f"{PREFIX}hdn": str(network.hdn),
        f"{PREFIX}rep": str(network.rep),
        f"{PREFIX}missing": model.missing.value,
        f"{PREFIX}weights": digest(model),
    }


def read_about(path: Path) -> dict[str, str] | None:
    """The same of a parquet file; None if there is none, or it is damaged."""
    import pyarrow as pa  # so late: pyarrow takes a tenth of a second
    from pyarrow import parquet

    try:
        metadata = parquet.read_schema(path).metadata or {}
    except (OSError, pa.ArrowInvalid):
        return None
    return {
        key.decode(errors="replace"): value.decode(errors="replace")
        for key, value in metadata.items()
        if key.startswith(PREFIX.encode())
    }


def differs(told: Mapping[str, str], says: Mapping[str, str]) -> list[str]:
    """By what a file is of another model, or made of it otherwise; not by the version of bidnn."""
    names = [key for key in says if key != f"{PREFIX}version" and told.get(key) != says[key]]
    return [name.removeprefix(PREFIX) for name in names]


def check_alike(
    name: str,
    told: Mapping[str, str] | None,
    says: Mapping[str, str],
    *,
    others: str = "new ones",
    hint: str = "embed all rows with one model",
) -> None:
    """Refuses vectors of another model, or made of it otherwise; what one does not say is no fault.

    Args:
        name: of what has the vectors.
        told: what that says of its model; None if it says nothing.
        says: what it should say.
        others: the vectors that they are to be compared with.
        hint: the way out.

    Raises:
        UserError: naming by what they differ.
    """
    both = {key: says[key] for key in SAID if key in says and key in (told or {})}
    if other := differs(told or {}, both):
        raise UserError(
            f"{name} is of another model or made of it otherwise (it differs in "
            f"{', '.join(other)}), so that its vectors are not to be compared with {others}; {hint}"
        )


def as_told(model: Model, told: Mapping[str, str], name: str) -> Model:
    """The model, which stands for a missing modality as when some rows were embedded.

    Args:
        model: that embeds further rows.
        told: what is said of those that are there, see `about`.
        name: of what they are in.

    Raises:
        UserError: if they are of another model.
    """
    for strategy in model.strategies:
        if strategy.value == told.get(f"{PREFIX}missing") and strategy is not model.missing:
            model = model.with_missing(strategy)
    if f"{PREFIX}weights" in told:  # without, its vectors' size is all that can be compared
        says = about(model, OutputKind.embedding, l2_norm=l2_norm_of(told))
        check_alike(name, told, says, hint="take the model that it was made with")
    return model


def l2_norm_of(told: Mapping[str, str], default: bool = False) -> bool:
    """Whether rows were embedded to unit length, by what is said of them."""
    said = told.get(f"{PREFIX}l2_norm")
    return default if said is None else said == "true"


def digest(model: Model) -> str:
    """SHA-256 of a model's weights and statistics, and of what it is: another one has another."""
    description = describe_model(model)
    if model.stacked is None:  # as it was told before there was such a setting
        del description["embedding"]["stacked"]
    found = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name, values in model.state_dict().items():
        found.update(f"{name} {tuple(values.shape)} ".encode())
        exact = values if values.dtype is torch.float64 else values.float()
        found.update(np.ascontiguousarray(exact.cpu().numpy()).data)
    return found.hexdigest()
