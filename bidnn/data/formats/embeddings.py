"""The folder that clip-retrieval writes: shards of both modalities, and tables of what they are."""

from glob import escape
from pathlib import Path

from bidnn.data.formats.kinds import EMBEDDINGS, check_kind, kind_of
from bidnn.data.formats.npy import read_npy
from bidnn.data.store import PairStore
from bidnn.errors import UserError

DEFAULT_ID = "image_path"


def read_embeddings(
    folder: Path,
    id_column: str | None,
    *,
    ignore_zeroes: bool,
    sizes: tuple[int, int] | None = None,
) -> PairStore:
    """Maps the shards `img_emb/*.npy` and `text_emb/*.npy`.

    Args:
        folder: what they are in; a modality without a folder misses in all rows.
        id_column: of `metadata/*.parquet`; `image_path` is taken if it is there; None: no ids.
        ignore_zeroes: a row of zeros is data.
        sizes: of a trained model, for a modality that is not there.

    Raises:
        UserError: if there are no such folders, or as `read_npy` does.
        OSError: if a file cannot be read.
    """
    first, second, ids = patterns(folder, id_column)
    return read_npy(
        first,
        second,
        ids=ids,
        id_column=None if ids is None else id_column,
        ignore_zeroes=ignore_zeroes,
        sizes=sizes,
    )


def patterns(folder: Path, id_column: str | None) -> tuple[str | None, str | None, str | None]:
    """What names the shards of images, of texts and of the tables of ids; None: there are none.

    Raises:
        UserError, OSError: as `read_embeddings`.
    """
    if kind_of(folder) is None and folder.is_dir():
        raise UserError(
            f"{folder}: no folder {' or '.join(EMBEDDINGS)} in it; data=npy with patterns, "
            "data.first='*.npy', reads shards of other names"
        )
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: no such folder")
    check_kind(folder, "embeddings")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: a file; a folder with {' and '.join(EMBEDDINGS)}")
    inside = (folder / name for name in EMBEDDINGS)
    first, second = (f"{escape(str(f))}/*.npy" if f.is_dir() else None for f in inside)
    ids = f"{escape(str(folder))}/metadata/*.parquet"
    return first, second, ids if _has(folder / "metadata", id_column) else None


def _has(metadata: Path, column: str | None) -> bool:
    """Whether ids are to be read; a column of another name than the usual must be there."""
    if column is None or (column == DEFAULT_ID and not metadata.is_dir()):
        return False
    if column != DEFAULT_ID:
        return True
    # so late: pyarrow takes a tenth of a second
    from bidnn.data.formats.tables.files import open_table

    return column in open_table(str(metadata)).schema.names
