"""How much memory there is, to refuse what will not fit before the system ends the program."""

from contextlib import suppress
from pathlib import Path

from bidnn.errors import UserError

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


def available_memory() -> int | None:
    """Bytes that this process could still take; None where the system does not say.

    The least of what Linux says of the machine, and what the container's limit leaves.
    """
    found: list[int] = []
    with suppress(OSError, ValueError, IndexError):
        lines = MEMINFO.read_text().split("MemAvailable:")
        found.append(int(lines[1].split()[0]) * 1024)
    with suppress(OSError, ValueError):  # `max` where there is no limit
        limit = int((CGROUP / "memory.max").read_text())
        found.append(limit - int((CGROUP / "memory.current").read_text()))
    return min(found, default=None)


def check_memory(size: int, what: str) -> None:
    """Refuses what does not fit.

    Args:
        size: bytes that will be needed at the least.
        what: for the message, with the way out after a semicolon.

    Raises:
        UserError: naming what is needed and what there is.
    """
    there = available_memory()
    if there is not None and size > there:
        named, _, out = what.partition("; ")
        raise UserError(
            f"{named}: {size / 1e9:.3g} GB of memory are needed, and {there / 1e9:.3g} GB are "
            f"there; {out}"
        )
