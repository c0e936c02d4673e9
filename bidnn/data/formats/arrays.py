"""Matrices as rows, and npz files that hold both modalities."""

import logging
import zipfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidnn.data.formats.kinds import check_kind
from bidnn.data.ids import as_ids
from bidnn.data.store import PairStore, find_present
from bidnn.errors import UserError
from bidnn.files import readable

log = logging.getLogger(__name__)


def read_npz(path: Path, *, ignore_zeroes: bool, sizes: tuple[int, int] | None = None) -> PairStore:
    """Reads an npz file with `first` or `second` or both, and optionally `label`, `id` and masks.

    Args:
        path: arrays `first` (rows, mod1size), `second` (rows, mod2size), `label` and `id` (rows,),
            `present_first` and `present_second` (rows,), true where the modality is there.
        ignore_zeroes: a row of zeros is data.
        sizes: of a trained model, for a modality that is not in the file.

    Raises:
        ValueError: if it is no npz file, or arrays are missing, of wrong shapes, or pickled.
        OSError: if it cannot be read.
    """
    arrays = open_npz(path, _NPZ_NAMES)
    if not {"first", "second"} & set(arrays):
        raise UserError(f"{path}: no array first or second in it, of which data=npz needs one")
    return store_arrays(
        arrays.get("first"),
        arrays.get("second"),
        labels=arrays.get("label"),
        present_first=arrays.get("present_first"),
        present_second=arrays.get("present_second"),
        ids=arrays.get("id"),
        ignore_zeroes=ignore_zeroes,
        name=str(path),
        sizes=sizes,
    )


_NPZ_NAMES = ("first", "second", "label", "id", "present_first", "present_second")


def store_arrays(
    first: Any,  # noqa: ANN401 — an array or a sparse matrix
    second: Any,  # noqa: ANN401 — likewise
    *,
    labels: ArrayLike | None = None,
    present_first: NDArray[Any] | None = None,
    present_second: NDArray[Any] | None = None,
    ids: ArrayLike | None = None,
    ignore_zeroes: bool = True,
    name: str = "arrays",
    sizes: tuple[int, int] | None = None,
) -> PairStore:
    """Makes a store of two matrices, finding out which rows are missing.

    Args:
        first: (rows, mod1size); None: all rows miss it.
        second: (rows, mod2size); likewise.
        labels: (rows,), or None; each is kept as its text.
        present_first: (rows,) true where the first modality is there, or None.
        present_second: likewise.
        ignore_zeroes: a row of zeros is data, not a missing modality.
        ids: (rows,) texts or whole numbers, no two alike, or None.
        name: for messages.
        sizes: columns of a modality that is None; a training knows none and needs both.

    Raises:
        ValueError: if the shapes do not fit, or present rows are not finite.
    """
    given = (_unmasked(first, f"{name}, first"), _unmasked(second, f"{name}, second"))
    for modality, values in zip(_MODALITIES, given, strict=True):
        if values is not None and values.ndim != 2:
            raise UserError(f"{name}: {modality} has shape {values.shape}; a matrix is needed")
    if labels is not None and np.ndim(labels) != 1:
        raise UserError(f"{name}: label has shape {np.shape(labels)}; one per row is needed")
    first, second = fill_absent(given, sizes, name)
    if first.shape[0] != second.shape[0]:
        raise UserError(
            f"{name}: first has {first.shape[0]} rows, second {second.shape[0]}; they are pairs"
        )
    known = None if ids is None else as_ids(ids, name)
    present = np.zeros((first.shape[0], 2), bool)
    masks = (present_first, present_second)
    for column, (values, mask) in enumerate(zip(given, masks, strict=True)):
        if values is not None:
            where = f"{name}, {_MODALITIES[column]}"
            present[:, column] = find_present(
                values, mask, ignore_zeroes=ignore_zeroes, name=where, ids=known
            )
    text = None if labels is None else label_texts(labels, name)
    return PairStore(first, second, present, text, name, ids=known)


_MODALITIES = ("first", "second")


def fill_absent(
    given: Sequence[Any],
    sizes: tuple[int, int] | None,
    name: str,
    empty: Collection[str] = (),
) -> list[Any]:
    """Both modalities, NaN that takes no memory for one that is None.

    Args:
        given: (rows, mod1size) and (rows, mod2size), at most one of them None.
        sizes: columns of both, of a trained model; None in a training.
        name: for messages.
        empty: of `first` and `second`, what is None because not one of its vectors is there.

    Raises:
        UserError: if one is needed, as in a training.
    """
    rows = next(values.shape[0] for values in given if values is not None)
    filled = []
    for column, values in enumerate(given):
        if values is None and sizes is None:
            part = _MODALITIES[column]
            what = f"not one vector of {part}" if part in empty else f"no {part}"
            raise UserError(
                f"{name}: has {what}, and to learn from, to compare and to convert rows both "
                "modalities are needed; one alone is for `bidnn embed`, and for transform and "
                "translate"
            )
        absent = sizes is not None and np.broadcast_to(np.float32(np.nan), (rows, sizes[column]))
        filled.append(absent if values is None else values)
    return filled


def label_texts(labels: ArrayLike, name: str) -> NDArray[np.str_]:
    """Labels as their texts; bytes are UTF-8.

    Raises:
        UserError: if one is masked, is no text or number, or is in another encoding.
    """
    hidden = np.ma.getmaskarray(labels) if np.ma.isMaskedArray(labels) else np.zeros(1, bool)
    if hidden.any():
        raise UserError(
            f"{name}: the label of row {int(np.argmax(hidden))}, counted from 0, is masked; give "
            "each row a label, or no labels"
        )
    plain = np.asarray(labels)
    if plain.dtype.kind == "V":
        raise UserError(f"{name}: labels of type {plain.dtype}; each must be one text or number")
    if plain.dtype.kind not in "SO":
        return plain.astype(np.str_)
    try:
        texts = [v.decode() if isinstance(v, bytes) else str(v) for v in plain.tolist()]
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: a label is not UTF-8 ({error.object[:40]!r})") from error
    return np.array(texts, dtype=np.str_)


def _unmasked(values: Any, name: str) -> Any:  # noqa: ANN401 — an array or a sparse matrix
    """A masked array as a plain one: rows masked whole are missing, which NaN says.

    Raises:
        UserError: if a row is masked in part.
    """
    if not np.ma.isMaskedArray(values) or values.ndim != 2:
        return values
    mask = np.ma.getmaskarray(values)
    hidden = mask.all(axis=1)
    partly = mask.any(axis=1) & ~hidden
    if partly.any():
        raise UserError(
            f"{name}, row {int(np.argmax(partly))} counted from 0: masked in a part of its "
            "columns; a missing modality is masked in all of them"
        )
    plain = np.array(values.data, dtype=np.result_type(values.dtype, np.float32))
    plain[hidden] = np.nan
    return plain


def open_npz(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Those of the named arrays that an npz file holds; the names of its others are logged.

    Raises:
        ValueError: if it is no npz file, is damaged, or holds pickled objects.
        OSError: if it cannot be read.
    """
    check_kind(path, "npz")
    check_file(path)
    with readable(path, "npz file"), path.open("rb") as file:  # np.load leaves a broken one open
        archive = np.load(file, allow_pickle=False)
        if not isinstance(archive, np.ndarray):
            unused = [name for name in archive.files if name not in names]
            if unused:
                log.info("%s: not used: %s; used: %s", path, ", ".join(unused), ", ".join(names))
            found = {name: archive[name] for name in names if name in archive.files}
            for name, array in found.items():
                if not isinstance(array, np.ndarray):
                    raise UserError(f"its member {name} is no npy file")
            return found
    raise UserError(f"{path}: a single array, as of npy files, not an npz archive")


def npz_member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    """Opens an array of an npz file for writing, without a time stamp: same content, same bytes."""
    info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
    return archive.open(info, "w", force_zip64=True)


def check_file(path: Path) -> None:
    """Refuses what is no file with something in it.

    Raises:
        OSError: if there is none.
        ValueError: if it is empty.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if not path.is_file():
        raise IsADirectoryError(f"{path}: a folder, not a file")
    if not path.stat().st_size:
        raise UserError(f"{path}: the file is empty")
