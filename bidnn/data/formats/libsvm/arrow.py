"""libsvm text to and from arrays by pyarrow, whole blocks at a time.

Nearly all of it runs outside Python's global lock, so that threads help.
"""

import re
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute, csv
from scipy.sparse import csr_array

from bidnn.data.formats.libsvm.grammar import (
    BYTE_ORDER_MARK,
    COMMENT,
    LABEL_LIMIT,
    IndexRule,
    RawRows,
)
from bidnn.errors import UserError

_LABEL = re.compile("[^\0\t\n\v\f\r #:]+")
# Each feature becomes a line of two fields. What is in no decimal number (inf, 0x10, 1_0, quotes)
# becomes a character that pyarrow refuses; it accepts no more than the grammar of what is left.
_ONE_A_LINE = bytes(
    byte if byte in b"0123456789.:-+eE" else ord("\n" if byte in b" \t\n\r\v\f" else "!")
    for byte in range(256)
)
_READ = csv.ReadOptions(use_threads=False, column_names=["index", "value"])
_PARSE = csv.ParseOptions(delimiter=":", quote_char=False)
# By way of float64, as the grammar reads: a decimal rounded to float32 at once may differ.
_CONVERT = csv.ConvertOptions(
    column_types={"index": pa.uint32(), "value": pa.float64()}, null_values=[]
)
_TEXT = pa.large_string()


def parse_fast(text: bytes, first_line: int, rule: IndexRule) -> RawRows | None:
    """Parses whole lines, or gives up.

    Args:
        text: whole lines; the last may lack its newline.
        first_line: the number of the first line.
        rule: which indices there may be; is left as it is.

    Returns:
        What `parse_exactly` returns; None if anything is not as it should be, or just unusual.
    """
    if b"\0" in text:
        return None
    if b"#" in text:
        text = COMMENT.sub(b"", text)
    lines = [line.split(None, 1) for line in text.split(b"\n")]
    rows = [line for line in lines if line]
    labels = _decode_labels([row[0] for row in rows])
    rests = [row[1] if len(row) > 1 else b"" for row in rows]
    try:
        features = pa.BufferReader(b"\n".join(rests).translate(_ONE_A_LINE))
        table = csv.read_csv(features, _READ, _PARSE, _CONVERT)
    except pa.ArrowInvalid:
        return None
    if labels is None or not table.num_rows:
        return None
    indices = table["index"].to_numpy()
    with np.errstate(over="ignore"):
        values = table["value"].to_numpy().astype(np.float32)
    in_range = rule.lowest <= indices.min() and indices.max() <= rule.highest
    if not in_range or not np.isfinite(values).all():
        return None
    indptr = np.cumsum([0, *(rest.count(b":") for rest in rests)])
    numbers = np.array([number for number, line in enumerate(lines, first_line) if line])
    zero_line, full_line = (
        int(numbers[np.searchsorted(indptr, at.argmax(), "right") - 1]) if at.any() else None
        for at in (indices == 0, indices == rule.size)
    )
    matrix = csr_array((values, indices.astype(np.int32), indptr), (len(rows), rule.size + 1))
    matrix.sort_indices()
    if not matrix.has_canonical_format:  # an index comes twice in a row
        return None
    return RawRows(labels, indptr, matrix.indices, matrix.data, zero_line, full_line)


def _decode_labels(labels: list[bytes]) -> list[str] | None:
    together = b"\n".join(labels)
    is_odd = b":" in together or BYTE_ORDER_MARK in together
    if is_odd or max(map(len, labels), default=0) > LABEL_LIMIT:
        return None
    try:
        return together.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        return None


def format_rows(
    rows: NDArray[Any] | csr_array, labels: list[str], first_row: int, first_index: int
) -> memoryview:
    """Writes rows as lines, each value with the fewest digits that give it back.

    Args:
        rows: (rows, columns); a sparse one float32 in canonical format, without stored zeros.
        labels: (rows,).
        first_row: number of the first row, for messages.
        first_index: the index of the first column.

    Raises:
        ValueError: if a label is not one token, or a value not finite in float32.
    """
    if isinstance(rows, np.ndarray):
        with np.errstate(over="ignore"):
            dense = rows.astype(np.float32, copy=False)
        row_of, columns = np.nonzero(dense)
        values, counts = dense[row_of, columns], np.bincount(row_of, minlength=len(labels))
    else:
        values, columns, counts = rows.data, rows.indices, np.diff(rows.indptr)
    starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    if not np.isfinite(values).all():
        at = int(np.argmin(np.isfinite(values)))
        row = first_row + int(np.searchsorted(starts, at, "right")) - 1
        raise UserError(
            f"row {row}, column {columns[at]}: the value is not finite in "
            "float32, and libsvm text cannot hold it; leave out a modality that is missing"
        )
    for row, label in enumerate(labels, first_row):
        check_label(label, row)
    heads = [f"{label} " if count else label for label, count in zip(labels, counts, strict=True)]
    nothing, space, colon, end = (pa.scalar(mark, _TEXT) for mark in ("", " ", ":", "\n"))
    texts = (pa.array(part).cast(_TEXT) for part in (columns + first_index, values))
    features = compute.binary_join_element_wise(*texts, colon)
    tails = compute.binary_join(pa.LargeListArray.from_arrays(starts, features), space)
    lines = compute.binary_join_element_wise(pa.array(heads, _TEXT), tails, end, nothing)
    return memoryview(lines.buffers()[2])


def check_label(label: str, row: int) -> None:
    """Refuses a label that the reader would not take for the same one.

    Raises:
        ValueError: naming the row.
    """
    try:
        fits = len(label.encode()) <= LABEL_LIMIT
    except UnicodeEncodeError:
        fits = False
    if not (fits and _LABEL.fullmatch(label)) or label[0] == "\ufeff":
        raise UserError(
            f"row {row}: the label {label[:40]!r} cannot be written; use one token of at most "
            f"{LABEL_LIMIT} bytes, without whitespace, colon or #"
        )
