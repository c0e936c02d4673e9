"""Rows to libsvm text, many values at a time by NumPy.

Every feature is laid out in four 64-bit words, ` index`, `:-whole`, `.fraction` and the rest of it
with what follows; bytes that stay zero drop out at the end. Nearly all of it runs outside Python's
global lock, so that threads help.
"""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from bidnn.data.formats.libsvm.grammar import LABEL_LIMIT
from bidnn.errors import UserError

_LABEL = re.compile(rb"[^\0\t\n\v\f\r #:]+")
_SPACE, _LF, _MINUS, _DOT, _ZERO, _COLON = (np.uint64(c) for c in b" \n-.0:")
# _LAST[n] keeps the last n of eight characters, _FIRST[n] the first n; the first is the low byte.
_LAST = np.array([0xFFFFFFFFFFFFFFFF >> 8 * (8 - n) << 8 * (8 - n) for n in range(9)], np.uint64)
_FIRST = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)
_POWERS = np.array([float(f"1e{n}") for n in range(16)])
_PLAIN_MIN, _PLAIN_MAX = float(np.float32(1e-6)), 1e6


def format_rows(
    rows: NDArray[Any] | csr_array, labels: list[str], first_row: int, first_index: int
) -> bytes:
    """Writes rows as lines.

    Args:
        rows: (rows, columns); a sparse one float32 in canonical format, without stored zeros.
        labels: (rows,).
        first_row: number of the first row, for messages.
        first_index: the index of the first column.

    Raises:
        ValueError: if a label is not one token, or a value not finite in float32.
    """
    heads = [_encode_label(label, row) for row, label in enumerate(labels, first_row)]
    if isinstance(rows, np.ndarray):
        with np.errstate(over="ignore"):
            dense = rows.astype(np.float32, copy=False)
        row_of, columns = np.nonzero(dense)
        values, counts = dense[row_of, columns], np.bincount(row_of, minlength=len(labels))
    else:
        values, columns, counts = rows.data, rows.indices, np.diff(rows.indptr)
    if not np.isfinite(values).all():
        at = int(np.argmin(np.isfinite(values)))
        row = first_row + int(np.searchsorted(np.cumsum(counts), at, "right"))
        raise UserError(
            f"row {row}, column {columns[at]}: the value is not finite in "
            "float32, and libsvm text cannot hold it; leave out a modality that is missing"
        )
    is_last = np.zeros(values.size, dtype=np.bool_)
    is_last[np.cumsum(counts)[counts > 0] - 1] = True
    features = iter(_format_features(columns + first_index, values, is_last).split(b"\n"))
    lines = [
        b"%b %b\n" % (head, next(features)) if count else head + b"\n"
        for head, count in zip(heads, counts.tolist(), strict=True)
    ]
    return b"".join(lines)


def _encode_label(label: str, row: int) -> bytes:
    """A label as the bytes from which the reader takes the same label."""
    text = label.encode("utf-8", "surrogatepass")
    is_utf8 = label.isascii() or text.decode("utf-8", "replace") == label
    if not (_LABEL.fullmatch(text) and is_utf8) or len(text) > LABEL_LIMIT or label[0] == "\ufeff":
        raise UserError(
            f"row {row}: the label {label[:40]!r} cannot be written; use one token of at most "
            f"{LABEL_LIMIT} bytes, without whitespace, colon or #"
        )
    return text


def _format_features(
    indices: NDArray[Any], values: NDArray[np.float32], is_last: NDArray[np.bool_]
) -> bytes:
    """`index:value` for each value, a newline behind the last of each row, else a space.

    A value has the fewest digits that give it back, without exponent from 1e-6 up to 1e6.
    """
    size = np.abs(values).astype(np.float64)
    is_plain = (size >= _PLAIN_MIN) & (size < _PLAIN_MAX)
    number, places = _shorten(np.where(is_plain, size, 1.0))
    whole = np.floor(number / _POWERS[places])
    fraction = ((number - whole * _POWERS[places]) * _POWERS[15 - places]).astype(np.uint64)
    upper = fraction // np.uint64(10**8)
    lower = fraction - upper * np.uint64(10**8)
    words = np.empty((values.size, 4), dtype="<u8")
    words[:, 0] = _to_digits(indices.astype(np.uint64)) & _LAST[_count_digits(indices)]
    words[:, 1] = _to_digits(whole.astype(np.uint64)) & _LAST[_count_digits(whole)]
    words[:, 1] |= _COLON | ((values < 0) * (_MINUS << np.uint64(8)))
    # The upper seven of fifteen digits leave a zero in front, whose place the point takes.
    shown = np.minimum(places + 1, 8) * (places > 0)
    words[:, 2] = (_to_digits(upper) ^ (_ZERO ^ _DOT)) & _FIRST[shown]
    words[:, 3] = _to_digits(lower) & _FIRST[np.maximum(places - 7, 0)]
    words[:, 3] |= np.where(is_last, _LF, _SPACE) << np.uint64(56)
    text = words.view(np.uint8)
    odd = np.flatnonzero(~is_plain)
    if odd.size:
        texts = [b"%.9g" % value for value in values[odd].tolist()]
        text[odd, 9:31] = np.array(texts, dtype="S22").view(np.uint8).reshape(-1, 22)
        text[odd, 8] = _COLON
    flat = text.ravel()
    written: bytes = flat[flat != 0].tobytes()
    return written


def _shorten(size: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Finds the shortest decimal numbers that are read as the given float32.

    Args:
        size: float32 values from 1e-6 up to 1e6.

    Returns:
        Whole numbers, and by how many decimal places they are to be shifted.
    """
    magnitude = np.floor(np.log10(size)).astype(np.int64)
    places = np.maximum(5 - magnitude, 0)
    number = np.rint(size * _POWERS[places])
    is_read = (number / _POWERS[places]).astype(np.float32) == size
    # Six digits tell short decimals from one another, nine tell all float32 values.
    zeros, more = np.flatnonzero(is_read), np.flatnonzero(~is_read)
    for digits in (7, 8, 9):
        if not more.size:
            break
        exact, shift = size[more], np.maximum(digits - 1 - magnitude[more], 0)
        number[more] = found = np.rint(exact * _POWERS[shift])
        places[more] = shift
        more = more[(found / _POWERS[shift]).astype(np.float32) != exact]
    assert not more.size
    while zeros.size:
        tenth = np.floor(number[zeros] / 10)
        is_zero = (tenth * 10 == number[zeros]) & (places[zeros] > 0)
        zeros = zeros[is_zero]
        number[zeros] = tenth[is_zero]
        places[zeros] -= 1
    return number, places


def _count_digits(number: NDArray[Any]) -> NDArray[np.int64]:
    count = np.ones(number.size, dtype=np.int64)
    limit = 10
    while (is_longer := number >= limit).any():
        count += is_longer
        limit *= 10
    return count


def _to_digits(number: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Eight digits, with leading zeros, of numbers below 10**8; the first is the low byte."""
    # The number becomes two of four digits, these four pairs, these eight digits; a product and
    # a shift divide all of them at once.
    rest = number // np.uint64(10000)
    word = rest | (number - rest * np.uint64(10000)) << np.uint64(32)
    rest = ((word * np.uint64(10486)) >> np.uint64(20)) & np.uint64(0x0000007F0000007F)
    word = rest | (word - rest * np.uint64(100)) << np.uint64(16)
    rest = ((word * np.uint64(103)) >> np.uint64(10)) & np.uint64(0x000F000F000F000F)
    digits: NDArray[np.uint64] = rest | (word - rest * np.uint64(10)) << np.uint64(8)
    digits |= np.uint64(0x3030303030303030)
    return digits
