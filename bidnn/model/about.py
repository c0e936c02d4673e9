"""What an output says of the model that it is of, and which model that is to the byte."""

import hashlib
import json
from importlib.metadata import version

import numpy as np
import torch

from bidnn.model.inference import OutputKind
from bidnn.model.model import Model
from bidnn.model.saved import describe_model

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


def digest(model: Model) -> str:
    """SHA-256 of a model's weights and statistics, and of what it is: another one has another."""
    found = hashlib.sha256(json.dumps(describe_model(model), sort_keys=True).encode())
    for name, values in model.state_dict().items():
        found.update(f"{name} {tuple(values.shape)} ".encode())
        exact = values if values.dtype is torch.float64 else values.float()
        found.update(np.ascontiguousarray(exact.cpu().numpy()).data)
    return found.hexdigest()
