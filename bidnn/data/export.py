"""The rows of a store written in any format, block by block."""

from pathlib import Path

from bidnn.data.formats.writing import Table
from bidnn.data.formats.written import format_of
from bidnn.data.store import PairStore


def files_written(path: Path) -> list[Path]:
    """The files that `export` may write under that name."""
    if path.suffix == ".npy":
        parts = ("first", "second", "label", "id")
        return [path.with_name(f"{path.stem}_{part}.npy") for part in parts]
    beside = [path.with_name(f"{path.name}.ids")] if format_of(path).source == "libsvm" else []
    return [path, *beside]


def export(store: PairStore, path: Path, *, zero_based: bool = False) -> dict[str, Path]:
    """Writes a store in the format that the name of the file says, each file whole or not at all.

    Args:
        store: the rows.
        path: `.npz`: an archive of `first`, `second`, `label`, `id`, `present_first`,
            `present_second`; `.npy`: `NAME_first.npy`, `NAME_second.npy`, `NAME_label.npy` and
            `NAME_id.npy`, in which a missing modality is a row of NaN; else libsvm text, in which
            it is left out, and a text `FILE.ids` of the ids.
        zero_based: indices of libsvm text start at 0.

    Returns:
        The files by the keys that read them: `path`, or `first`, `second` and `label`; and `ids`.

    Raises:
        ValueError: if the name is of a format that is not written.
        OSError: if one cannot be written.
    """
    widths = (store.mod1size, store.mod2size)
    table = Table(widths, store.present, store.labels, features=True, ids=store.ids)
    blocks = ((rows, *store.take(rows)) for rows in store.blocks())
    return format_of(path).write(path, table, blocks, zero_based=zero_based)
