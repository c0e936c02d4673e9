"""libsvm text of two modalities side by side, read and written in blocks of bounded memory.

A line is `label index:value index:value …`, the first modality's columns first, with an optional
comment after `#`. Zeros need not be written; a row may be a label alone (both modalities missing).
"""

import gzip
import io
import os
import zlib
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse

from bidnn.data.formats.libsvm.grammar import (
    BYTE_ORDER_MARK,
    IndexBase,
    IndexRule,
    LibsvmError,
    RawRows,
    parse_exactly,
)
from bidnn.errors import UserError

__all__ = [
    "IndexBase",
    "LibsvmError",
    "LibsvmRows",
    "iter_libsvm",
    "read_libsvm",
    "write_libsvm",
]

BLOCK_BYTES = 1 << 20
LINE_BYTES = 1 << 28  # some twenty million values
VALUES_AT_ONCE = 1 << 16
MAX_COLUMNS = 10**8 - 2  # so that every index has at most eight digits
MAX_WORKERS = 4  # more than that wait for one another
_Fast = RawRows | None


class Digest(Protocol):
    """What is used of hashlib's objects."""

    def update(self, data: bytes, /) -> None:
        """Adds bytes."""


@dataclass(frozen=True, slots=True)
class LibsvmRows:
    """Rows of a libsvm file, in its order.

    Attributes:
        matrix: (rows, mod1size + mod2size) float32, finite; indices sorted, no zero stored.
        labels: (rows,) text, each the token that opens the row's line.
        index_base: where the file's indices start, as declared or as they say.
    """

    matrix: csr_array
    labels: NDArray[np.str_]
    index_base: IndexBase


def read_libsvm(
    path: Path, mod1size: int, mod2size: int, *, index_base: IndexBase = IndexBase.auto
) -> LibsvmRows:
    """Reads a libsvm file, which may be compressed by gzip, into memory.

    Strict: an index is digits only; a value is a decimal number as Python writes one (`-0.5`,
    `.5`, `1.5e-3`), finite in float32, and read as `np.float32(float(text))`, except that a zero
    is not stored. Nothing that departs from this is guessed at.

    Args:
        path: the file.
        mod1size: columns of the first modality.
        mod2size: columns of the second modality.
        index_base: where indices start. With `auto`, an index 0 anywhere says 0, an index
            mod1size + mod2size anywhere says 1, and neither means 1.

    Returns:
        All rows.

    Raises:
        LibsvmError: if the file cannot be read, has no row, or is not as described above; the
            message names the line.
    """
    rule = _make_rule(path, mod1size, mod2size, index_base)
    blocks = list(_parse_file(path, rule, BLOCK_BYTES))
    lengths = np.concatenate([np.diff(block.indptr) for block in blocks])
    together = RawRows(
        [label for block in blocks for label in block.labels],
        np.concatenate([[0], np.cumsum(lengths)]),
        np.concatenate([block.indices for block in blocks]),
        np.concatenate([block.values for block in blocks]),
    )
    return _finish(together, rule.first_index, rule.size)


def iter_libsvm(
    path: Path,
    mod1size: int,
    mod2size: int,
    *,
    index_base: IndexBase = IndexBase.auto,
    block_bytes: int = BLOCK_BYTES,
    digest: Digest | None = None,
) -> Iterator[LibsvmRows]:
    """Reads a libsvm file block by block; all blocks together are what `read_libsvm` returns.

    With `auto`, the file is first read up to the first index that settles the base. In a file
    with few zeros that is within the first line; a file that never settles it is read twice.

    Args:
        path: as in `read_libsvm`.
        mod1size: as in `read_libsvm`.
        mod2size: as in `read_libsvm`.
        index_base: as in `read_libsvm`.
        block_bytes: about how much text to take at once; a few blocks are in memory together.
        digest: of hashlib; is fed all bytes that the blocks are made of.

    Raises:
        LibsvmError: as `read_libsvm`, but after the blocks before the line in question; also if the
            file is seen to change meanwhile.
    """
    scout = _make_rule(path, mod1size, mod2size, index_base)
    if not scout.is_decided:
        with closing(_parse_file(path, scout, block_bytes)) as blocks:
            for _ in blocks:
                if scout.is_decided:
                    break
    rule = _make_rule(path, mod1size, mod2size, index_base)
    for block in _parse_file(path, rule, block_bytes, digest):
        yield _finish(block, scout.first_index, rule.size)
    if rule.first_index != scout.first_index:
        raise changed_error(path)


def changed_error(path: Path) -> LibsvmError:
    """What is raised if a file is not the same from its beginning to its end."""
    return LibsvmError(f"{path}: was changed while it was read; start again when it is finished")


def write_libsvm(
    file: BinaryIO,
    rows: NDArray[Any] | csr_array,
    labels: Sequence[str] | NDArray[np.str_],
    *,
    zero_based: bool = False,
) -> None:
    """Appends rows to an open binary file; call it once per block.

    Values are written so that float32 comes back bit for bit, zeros are left out. A dense and a
    sparse block of the same values give the same bytes.

    Args:
        file: open for writing in binary mode.
        rows: (rows, columns), finite in float32.
        labels: (rows,) one token each: no whitespace, no colon, no `#`.
        zero_based: indices start at 0 instead of 1.

    Raises:
        ValueError: if a label is no such token, a value is not finite, or the shapes do not fit.
        OSError: if the file cannot be written.
    """
    matrix = rows
    if issparse(rows):
        with np.errstate(over="ignore"):
            matrix = csr_array(rows, dtype=np.float32, copy=True)
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
        count = matrix.nnz
    elif rows.ndim != 2:
        raise UserError(f"rows of shape {rows.shape}; a matrix is needed")
    else:
        count = rows.size
    if matrix.shape[0] != len(labels):
        raise UserError(f"{matrix.shape[0]} rows but {len(labels)} labels; each row needs one")
    if matrix.shape[1] > MAX_COLUMNS:
        raise UserError(f"{matrix.shape[1]} columns; at most {MAX_COLUMNS} can be written")
    from bidnn.data.formats.libsvm.arrow import format_rows  # so late: as in _parse_ahead

    names = [str(label) for label in labels]
    step = max(1, len(names) * VALUES_AT_ONCE // max(count, 1))

    def format_from(start: int) -> memoryview:
        part = slice(start, start + step)
        return format_rows(matrix[part], names[part], start, 0 if zero_based else 1)

    with ThreadPoolExecutor(_count_workers()) as pool:
        for text in pool.map(format_from, range(0, len(names), step)):
            file.write(text)


def _count_workers() -> int:
    return min(os.cpu_count() or 1, MAX_WORKERS)


def _make_rule(path: Path, mod1size: int, mod2size: int, base: IndexBase) -> IndexRule:
    if mod1size < 1 or mod2size < 1:
        raise UserError(f"mod1size = {mod1size} and mod2size = {mod2size} must be at least 1")
    if mod1size + mod2size > MAX_COLUMNS:
        raise UserError(f"mod1size + mod2size = {mod1size + mod2size}; at most {MAX_COLUMNS}")
    return IndexRule(str(path), mod1size, mod2size, base)


def _finish(rows: RawRows, first_index: int, size: int) -> LibsvmRows:
    """Turns indices into columns."""
    columns = rows.indices
    columns -= np.int32(first_index)
    matrix = csr_array((rows.values, columns, rows.indptr), shape=(len(rows.labels), size))
    if not rows.values.all():
        matrix.eliminate_zeros()
    matrix.has_canonical_format = True
    base = IndexBase.one if first_index else IndexBase.zero
    return LibsvmRows(matrix, np.array(rows.labels, dtype=np.str_), base)


def _parse_file(
    path: Path, rule: IndexRule, block_bytes: int, digest: Digest | None = None
) -> Generator[RawRows]:
    """Yields the rows of each block in the file's order, never an empty block."""
    found = False
    for text, first_line, rows in _parse_ahead(_read_blocks(path, block_bytes, digest), rule):
        # The exact parser decides whatever the fast one leaves open, and words the refusals. It
        # runs here, in the file's order, so that these do not depend on how the file was cut.
        kept = rows if rows and rule.take_note(rows) else parse_exactly(text, first_line, rule)
        if kept.labels:
            found = True
            yield kept
    if not found:
        raise LibsvmError(f"{path}: no row in the file; it is empty, or blank lines and comments")


def _parse_ahead(
    blocks: Iterator[tuple[bytes, int]], rule: IndexRule
) -> Iterator[tuple[bytes, int, _Fast]]:
    """Lets threads parse a few blocks beyond the one that is asked for."""
    # pyarrow takes a third of a second to import, which only those pay who have libsvm text.
    from bidnn.data.formats.libsvm.arrow import parse_fast

    workers = _count_workers()
    ahead: deque[tuple[bytes, int, Future[_Fast]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for text, line in blocks:
            ahead.append((text, line, pool.submit(parse_fast, text, line, rule)))
            if len(ahead) > workers:
                yield _await(ahead)
        while ahead:
            yield _await(ahead)


def _await(ahead: deque[tuple[bytes, int, Future[_Fast]]]) -> tuple[bytes, int, _Fast]:
    text, line, future = ahead.popleft()
    return text, line, future.result()


def _read_blocks(
    path: Path, block_bytes: int, digest: Digest | None = None
) -> Iterator[tuple[bytes, int]]:
    """Yields pieces of about `block_bytes` that end with a line, and their first line's number."""
    line = 1
    try:
        with _open_text(path, digest) as file:
            text = file.read(3).removeprefix(BYTE_ORDER_MARK)
            while text := text + file.read(block_bytes) + (end := file.readline(LINE_BYTES)):
                if len(end) == LINE_BYTES:
                    last = line + text.count(b"\n")
                    raise LibsvmError(
                        f"{path}, line {last}: longer than {LINE_BYTES >> 20} MiB; this is not "
                        "libsvm text, or lacks its line ends"
                    )
                yield text, line
                line += text.count(b"\n")
                text = b""
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise LibsvmError(
            f"{path}, after line {line}: the gzip file is cut off or damaged ({error}); "
            "fetch or compress it again"
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise LibsvmError(f"{path}: cannot be read ({reason}); check data.path") from error


@contextmanager
def _open_text(path: Path, digest: Digest | None) -> Iterator[BinaryIO | gzip.GzipFile]:
    """Opens a file, through gzip if its first bytes say so, whatever its name."""
    if path.exists() and not path.is_file():
        raise LibsvmError(f"{path}: a folder or device, not a file; check data.path")
    with path.open("rb") as raw:
        file = raw if digest is None else io.BufferedReader(_Hashed(raw, digest))
        if file.peek(2)[:2] != b"\x1f\x8b":
            yield file
            return
        with gzip.GzipFile(fileobj=file) as text:
            yield text


class _Hashed(io.RawIOBase):
    """A file whose bytes are hashed as they are read, from its beginning to its end."""

    def __init__(self, file: BinaryIO, digest: Digest) -> None:
        self.file, self.digest = file, digest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 — whatever holds bytes
        content = self.file.read(len(buffer))
        self.digest.update(content)
        buffer[: len(content)] = content
        return len(content)
