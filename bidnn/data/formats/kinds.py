"""What a file is by its first bytes, and which `data=` reads it."""

from pathlib import Path

from bidnn.data.formats.numbered import is_pattern
from bidnn.errors import UserError

HDF5 = b"\x89HDF\r\n\x1a\n"
_KINDS = (
    (b"PAR1", "a parquet file", "table"),
    (b"PARE", "an encrypted parquet file", "table"),
    (b"ARROW1", "an Arrow file", "table"),
    (b"\xff\xff\xff\xff", "an Arrow stream", "table"),
    (b"PK\x03\x04", "an npz archive", "npz"),
    (b"\x93NUMPY", "an npy file", "npy"),
    (b"MATLAB", "a .mat file", "mat"),
    (HDF5, "an HDF5 file", "hdf5"),
)
EMBEDDINGS = ("img_emb", "text_emb")


def check_kind(path: Path, wanted: str) -> None:
    """Refuses a file of a kind that another source reads.

    Args:
        path: the file; one that cannot be read passes.
        wanted: the source that is to read it, as in `data=`.

    Raises:
        UserError: naming the kind and the source for it.
    """
    kind = kind_of(path)
    if kind is not None and kind[1] != wanted:
        raise UserError(f"{path}: {kind[0]}, which data={wanted} does not read; use data={kind[1]}")


def kind_of(path: Path) -> tuple[str, str] | None:
    """What a file is, in words, and the source that reads it; None if its first bytes do not say.

    A folder is one of embeddings, if it has their folders. Text says nothing. A .mat file of
    version 7.3 is HDF5 inside, see `is_hdf5`.
    """
    if any((path / name).is_dir() for name in EMBEDDINGS):
        return "a folder of embeddings", "embeddings"
    try:
        with path.open("rb") as file:
            begin = file.read(8)
    except OSError:
        return None
    found = (kind for kind in _KINDS if begin.startswith(kind[0]))
    _, words, source = next(found, (b"", "", ""))
    return (words, source) if words else None


def is_hdf5(path: Path) -> bool:
    """Whether a file is HDF5 after 0 or 512 bytes of something else, which are MATLAB's in 7.3."""
    with path.open("rb") as file:
        begin = file.read(512 + len(HDF5))
    return begin.startswith(HDF5) or begin[512:] == HDF5


def is_table(path: Path) -> bool:
    """Whether a path is read as a table: by first bytes, or a folder or a pattern."""
    kind = kind_of(path)
    return path.is_dir() or is_pattern(str(path)) or (kind is not None and kind[1] == "table")
