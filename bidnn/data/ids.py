"""What rows are called: one text or whole number each, and no two alike."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidnn.errors import UserError


def as_ids(values: ArrayLike, name: str) -> NDArray[Any]:
    """Ids as an array of texts or of int64; a pandas index or column will do.

    Args:
        values: (rows,) texts, bytes in UTF-8, or whole numbers.
        name: where they come from, for messages.

    Raises:
        UserError: if one is masked or missing, of another type, or on two rows.
    """
    if np.ma.isMaskedArray(values) and np.ma.getmaskarray(values).any():
        row = int(np.argmax(np.ma.getmaskarray(values)))
        raise UserError(f"{name}: the id of row {row}, counted from 0, is masked; each row has one")
    plain = np.asarray(values)
    if plain.ndim != 1:
        raise UserError(f"{name}: id has shape {plain.shape}; one per row is needed")
    if plain.dtype.kind in "SOT":
        plain = _from_objects(plain.tolist(), name)
    if plain.dtype.kind not in "iuU":
        raise UserError(
            f"{name}: ids of type {plain.dtype}; each must be a text or a whole number, such as a "
            "float column becomes by astype('int64')"
        )
    if plain.dtype.kind == "u" and plain.size and int(plain.max()) > np.iinfo(np.int64).max:
        raise UserError(f"{name}: id {plain.max()} is beyond int64; give such ids as texts")
    ids = plain if plain.dtype.kind == "U" else plain.astype(np.int64, copy=False)
    check_unique(ids, name)
    return ids


def check_unique(ids: NDArray[Any], name: str) -> None:
    """Refuses an id that two rows have.

    Raises:
        UserError: naming it and both rows.
    """
    if ids.dtype.kind == "i":
        in_order = np.sort(ids)
        alike = bool((in_order[1:] == in_order[:-1]).any())
    else:
        alike = len(set(ids.tolist())) < len(ids)
    if not alike:
        return
    seen: dict[Any, int] = {}
    for row, value in enumerate(ids.tolist()):
        if value in seen:
            raise UserError(
                f"{name}: rows {seen[value]} and {row}, counted from 0, have the same id "
                f"{value!r}; each row needs an id of its own"
            )
        seen[value] = row


def _from_objects(values: list[Any], name: str) -> NDArray[Any]:
    """Texts or whole numbers that came as Python's objects."""
    if not values:
        return np.zeros(0, np.str_)
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in values)
    if whole:
        return np.array(values)
    for row, value in enumerate(values):
        if not isinstance(value, str | bytes):
            raise UserError(
                f"{name}: the id of row {row}, counted from 0, is {value!r}; each must be a text, "
                "or each a whole number"
            )
    try:
        return np.array([v.decode() if isinstance(v, bytes) else v for v in values], np.str_)
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: an id is not UTF-8 ({error.object[:40]!r})") from error
