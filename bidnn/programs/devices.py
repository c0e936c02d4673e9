"""Where a model runs that is only used."""

import os

import torch

from bidnn.errors import UserError


def device_of(name: str) -> torch.device:
    """The device of that name.

    Args:
        name: as torch has it; `auto` is a GPU if there is one, for each of the processes that were
            started together on a machine its own, and else the processor.

    Raises:
        UserError: if it cannot be used.
    """
    if name == "auto":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        number = os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or "0"
        return torch.device("cuda", int(number) % count) if count else torch.device("cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # `meta` is a device without values
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0][:200]
        raise UserError(f"device={name}: not usable here ({reason})") from error
    return device
