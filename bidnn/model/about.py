"""What an output says of the model that it is of, and which model that is to the byte."""

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from bidnn.model.description import describe_model
from bidnn.model.inference import OutputKind
from bidnn.model.model import Model

PREFIX = "bidnn."


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
