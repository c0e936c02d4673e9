"""Opens HDF5 files, and finds what is asked for in them."""

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from bidnn.data.formats.arrays import check_file
from bidnn.data.formats.kinds import check_kind
from bidnn.errors import UserError
from bidnn.files import readable

SHOWN = 12


def check_readable(path: Path, source: str) -> None:
    """Refuses what `opened` cannot open, before h5py is imported.

    Args:
        path: the file.
        source: which reads it, as in `data=`.

    Raises:
        UserError: if another source reads it, or h5py is not installed.
        OSError: if there is no such file.
    """
    check_kind(path, source)
    check_file(path)
    try:
        import h5py  # noqa: F401 — whether it can be
    except ImportError as error:
        raise UserError(
            f"{path}: HDF5 is read by h5py, which is not installed; pip install 'bidnn[hdf5]'"
        ) from error


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """An HDF5 file, as `h5py.File`; closed after the block.

    Raises:
        UserError: if it is none, is open for writing, or h5py raises anything in the block.
        OSError: if it cannot be read.
    """
    import h5py

    try:
        with readable(path, "HDF5 file"):
            file = h5py.File(path, "r")
    except UserError as error:
        written = isinstance(error.__cause__, BlockingIOError) or "open for write" in str(error)
        if not written:
            raise
        raise UserError(
            f"{path}: another program has it open for writing; let that close it first (after a "
            f"crash, `h5clear -s {path}` does)"
        ) from error
    with file:
        try:
            yield file
        except UserError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:  # of what is written, say
                raise
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(f"{path}: no readable HDF5 file ({reason})") from error


def read(data: Any, rows: Any = ()) -> Any:  # noqa: ANN401 — h5py.Dataset, and what it holds
    """Values of a data set.

    Raises:
        UserError: naming it, if they are damaged, or packed by what is not there.
    """
    with readable(Path(data.file.filename), f"data set {data.name.lstrip('/')}"):
        return data[rows]


def data_sets(group: Any) -> list[str]:  # noqa: ANN401 — h5py.Group
    """Some data sets beneath a group, with their shapes."""
    import h5py

    found: list[str] = []

    def look(name: str, item: Any) -> bool | None:  # noqa: ANN401 — whatever is there
        if isinstance(item, h5py.Dataset):
            found.append(f"{name} {item.shape}")
        return True if len(found) == SHOWN else None

    group.visititems(look)
    return found


def check_there(file: Any, name: str, key: str) -> None:  # noqa: ANN401 — h5py.File
    """Refuses the name of nothing.

    Raises:
        UserError: naming the nearest that there is.
    """
    if name in file:
        return
    there = data_sets(file)
    near = get_close_matches(name, [text.rpartition(" (")[0] for text in there], n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(there) or 'none'}"
    raise UserError(f"{key}={name}: {file.filename} has no data set {name}; {hint}")
