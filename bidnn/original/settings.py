"""The original's settings as those of `bidnn train`, and a trained model's as the original's."""

from collections.abc import Mapping
from typing import Any

from bidnn.errors import UserError
from bidnn.model.description import describe_model
from bidnn.model.model import Model
from bidnn.original.config import FIELDS


def as_settings(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Fields of Config as settings of `bidnn train`.

    Args:
        given: values by field.

    Returns:
        Values by key, choices of a group among them; and by key, which field it came from.

    Raises:
        UserError: if there are to be fewer than no epochs, which would mean no end here.
    """
    words = {key: name for name in given if (key := FIELDS[name]) is not None}
    optional = ("fname_out", "load_model", "missing")
    unset = [name for name in optional if given.get(name) is None]
    values = {key: given[name] for key, name in words.items() if name not in unset}
    if "untied" in given:
        values["model.tied"] = not given["untied"]
    if "crossmodal" in given:
        values["output.kind"] = "crossmodal" if given["crossmodal"] else "embedding"
    if "epochs" in given:
        values["trainer.max_steps"] = -1
        if isinstance(given["epochs"], int) and given["epochs"] < 0:
            raise UserError(f"epochs={given['epochs']}: must be at least 0")
    return values, words


def settings_of(model: Model) -> dict[str, Any]:
    """Arguments of `bidnn.BiDNN` by which `fit` trains such a model anew."""
    described = describe_model(model)
    network = dict(described["network"])
    found = {
        "hdn": network.pop("hdn"),
        "rep": network.pop("rep"),
        "act": network.pop("activation"),
        "output_act": network.pop("output_activation"),
        "dropout": network.pop("dropout"),
        "untied": not network.pop("tied"),
        "scaling": described["scaling"],
        "l2_norm": described["l2_norm"],
        "ignore_zeroes": described["reading"]["ignore_zeroes"],
    }
    same = len(set(described["transforms"])) == 1
    found["scaling__transform"] = described["transforms"][0] if same else "auto"
    found |= {f"model__{name}": value for name, value in network.items()}
    found |= {f"embedding__{name}": value for name, value in described["embedding"].items()}
    if not network["self_paths"]:
        found["loss"] = "separate_means"
    if not network["diffusion"]:
        found["loss__diffusion"] = 0.0
    return found
