"""Columns of a table as arrays: vectors, labels and ids."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute

from bidnn.data.formats.arrays import label_texts
from bidnn.data.formats.converted import Where
from bidnn.errors import UserError


def is_vectors(kind: pa.DataType) -> bool:
    """Whether a column holds lists of numbers."""
    kind = getattr(kind, "storage_type", kind)
    return is_list(kind) and (
        pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)
    )


def check_vectors(kind: pa.DataType, name: str) -> None:
    """Refuses a column that is none of vectors; of nulls alone, it is one that lacks them all.

    Raises:
        UserError: naming its type.
    """
    kind = getattr(kind, "storage_type", kind)
    if is_vectors(kind) or pa.types.is_null(kind.value_type if is_list(kind) else kind):
        return
    what = "text" if is_text(kind) else f"of type {kind}"
    raise UserError(f"{name}: {what}, not vectors; a column of lists of numbers is needed")


def vectors(
    column: pa.Array, size: int | None, name: str, where: Where
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The vectors in a part of a column, without those that are null as a whole or in all values.

    Args:
        column: lists of numbers, of fixed or variable size; or of a type that has but nulls, as it
            is written where there is no vector.
        size: how long each must be; None: as the first is.
        name: the column, for messages.
        where: names a row of the part.

    Returns:
        (those that are there, size) and (rows,) whether it is there.

    Raises:
        UserError: if it is none of vectors, they are of two lengths, or one holds a null beside
            numbers.
    """
    check_vectors(column.type, name)
    if pa.types.is_null(column.type):
        return np.zeros((0, size or 0), np.float32), np.zeros(len(column), np.bool_)
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_null(column.type.value_type):
        fixed = pa.types.is_fixed_size_list(column.type)
        column = column.cast(pa.list_(pa.float32(), column.type.list_size if fixed else -1))
    there = column.is_valid().to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(there)
    if pa.types.is_fixed_size_list(column.type):
        size = column.type.list_size if size is None else size
        lengths = np.full(len(rows), column.type.list_size)
    else:
        lengths = compute.list_value_length(column).drop_null().to_numpy(zero_copy_only=False)
    if size is None and len(rows):
        size = int(lengths[0])
    odd = np.flatnonzero(lengths != size)
    if len(odd):
        raise UserError(
            f"{name}, {where(rows[odd[0]])}: a vector of {lengths[odd[0]]} values, and others have "
            f"{size}; all need the same length"
        )
    values = column.flatten()
    with np.errstate(over="ignore"):  # what is infinite then is refused by name
        flat = values.to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    found = flat.reshape(len(rows), size or 0)
    if not values.null_count:
        return found, there
    known = values.is_valid().to_numpy(zero_copy_only=False).reshape(found.shape)
    some, every = known.any(axis=1), known.all(axis=1)
    if (some != every).any():
        raise UserError(
            f"{name}, {where(rows[np.argmax(some != every)])}: a null inside of its vector, beside "
            "numbers; a missing modality is null as a whole, or in all of its values"
        )
    there = there.copy()
    there[rows[~some]] = False  # as pandas writes NaN in a column of objects
    return found[some], there


def labels(column: pa.Array, name: str) -> NDArray[np.str_]:
    """Labels as their texts; a null is an empty one."""
    there = column.is_valid().to_numpy(zero_copy_only=False)
    known = label_texts(_plain(column.drop_null()), name)
    found = np.zeros(len(column), known.dtype if known.size else "<U1")
    found[there] = known
    return found


def check_ids(kind: pa.DataType, name: str) -> None:
    """Refuses a column that cannot name rows.

    Raises:
        UserError: naming its type.
    """
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (is_text(kind) or pa.types.is_integer(kind)):
        hint = "; as a float it is rounded, or was whole before a null came in" * (
            pa.types.is_floating(kind)
        )
        raise UserError(f"{name}: of type {kind}; ids must be texts or whole numbers{hint}")


def ids(column: pa.Array, name: str, first_row: int) -> NDArray[Any]:
    """Ids as texts or whole numbers.

    Raises:
        UserError: if one is null.
    """
    if column.null_count:
        row = first_row + int(np.argmin(column.is_valid().to_numpy(zero_copy_only=False)))
        raise UserError(f"{name}: the id of row {row}, counted from 0, is null; each row has one")
    found = _plain(column)
    return found if found.dtype.kind in "iu" else found.astype(np.str_)


def _plain(column: pa.Array) -> NDArray[Any]:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    plain: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return plain


def is_list(kind: pa.DataType) -> bool:
    """Whether a column holds a list in each row, of whatever length."""
    tests = (pa.types.is_fixed_size_list, pa.types.is_list, pa.types.is_large_list)
    return any(test(kind) for test in tests)


def is_text(kind: pa.DataType) -> bool:
    """Whether it is a type of texts."""
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(test(kind) for test in tests)
