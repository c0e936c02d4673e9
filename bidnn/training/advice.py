"""Advice in warnings and errors: only what is not set already, in the caller's own words."""

from collections.abc import Callable

from bidnn.architecture import Activation
from bidnn.model.model import Model
from bidnn.model.scaling import ScalingKind

Words = Callable[[str, str | None], str]
"""Writes a setting as the caller would: its dotted key, and a value, or None for the key alone."""


def SETTINGS(key: str, value: str | None) -> str:  # noqa: N802 — a choice of Words, like PYTHON
    """As on the command line of `bidnn train`."""
    return key if value is None else f"{key}={value}"


_PYTHON = {"optimizer.lr": "lr", "model.output_activation": "output_act", "model.rep": "rep"}


def PYTHON(key: str, value: str | None) -> str:  # noqa: N802 — a choice of Words
    """As arguments of `bidnn.BiDNN`."""
    name = _PYTHON.get(key, key.replace(".", "__"))
    return name if value is None else f'{name}="{value}"'


def offer(model: Model, words: Words, *keys: str) -> list[str]:
    """What could be set to fix a training, and is not.

    Args:
        model: as it is trained.
        words: the caller's.
        keys: `scaling` and `output`, in the order of preference.
    """
    offers = []
    for key in keys:
        if key == "scaling" and model.first_scaler.kind is not ScalingKind.standard:
            offers.append(words("scaling", "standard"))
        if key == "output" and model.network.config.output is not Activation.linear:
            offers.append(words("model.output_activation", "linear"))
    return offers
