"""Where a model runs that is only used."""

import torch

from bidnn.errors import UserError


def device_of(name: str) -> torch.device:
    """The device of that name; `auto` is a GPU when there is one.

    Raises:
        UserError: if it cannot be used.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # `meta` is a device without values
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0][:200]
        raise UserError(f"device={name}: not usable here ({reason})") from error
    return device
