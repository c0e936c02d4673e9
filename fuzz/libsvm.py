"""Fuzzes the libsvm reader: the fast parser against the exact one, files, blocks, and writing.

python fuzz/libsvm.py --count 200000
python fuzz/guided.py -runs=1000000    # by coverage
"""

import gzip
import tempfile
from io import BytesIO
from itertools import count
from pathlib import Path

import numpy as np
from mutation import run

from bidnn.data.formats.libsvm.arrow import parse_fast
from bidnn.data.formats.libsvm.grammar import IndexRule, RawRows, parse_exactly
from bidnn.data.formats.libsvm.text import (
    IndexBase,
    LibsvmError,
    LibsvmRows,
    iter_libsvm,
    read_libsvm,
    write_libsvm,
)

SIZES = (3, 5)
THROUGH_FILES = 20
SEEDS = (
    b"1 1:0.5 3:0.25 8:1\n-1 2:1e-3 4:-0.5 # note\n0\n",
    b"a 0:1 7:2.5\nb 1:3\n",
    "é 1:1.25 2:-7 3:100000000 4:.5 5:1. 6:1e38 7:3.4028235e38\r\n\r\n+1 8:0\n".encode(),
    b"1\t1:0.123456789012345678\t2:123456789.5 3:0.000000000000000000000001\n" * 3,
    b"x 1:1 2:1 3:1 4:1 5:1 6:1 7:1 8:1\n" * 6,
)
TOKENS = (
    *(b"1:0.5", b":", b"0:1", b"8:1", b"9:1", b"1:", b":1", b"e", b"e-45", b"1e39", b"-0", b"+"),
    *(b"-", b".", b"..", b"nan", b"inf", b"#", b"\n", b"\r", b"\r\n", b" ", b"  ", b"\t", b"\v"),
    *(b"\f", b"\0", b"\xc3", b"\xc2\xb2", b"\xef\xbb\xbf", b"\xd9\xa3:1", b"1:\xd9\xa3", b"1:1_0"),
    *(b"99999999:1", b"18446744073709551617:1", b"1:0x1p3", b"0000000001:2", b"1:1e400"),
    *(b"1:-1e-400", b"2:16777217", b"2:0.1000000014901161193847656250", b"3:1e22", b"\x1f\x8b"),
    *(b"3:9007199254740993", b"1:3.40282357e38", b"1:1.17549429e-38", b"1:0." + b"0" * 30 + b"7"),
)
FOLDER = Path(tempfile.mkdtemp())
NUMBER = count()


def check(data: bytes) -> bool:
    """Whether the input is accepted; raises AssertionError where two ways differ."""
    base = tuple(IndexBase)[len(data) % 3]
    exact = _exactly(data, base)
    rule = IndexRule("fuzz", *SIZES, base)
    fast = parse_fast(data, 1, rule)
    if fast is not None and rule.take_note(fast):
        assert exact is not None, "the fast parser accepts what the exact one refuses"
        assert fast.labels == exact.labels
        for name in ("indptr", "indices", "values"):
            one, other = getattr(fast, name), getattr(exact, name)
            assert one.tobytes() == other.astype(one.dtype).tobytes(), name
    if next(NUMBER) % THROUGH_FILES == 0:
        _through_files(data, base, exact)
    return exact is not None and bool(exact.labels)


def _exactly(data: bytes, base: IndexBase) -> RawRows | None:
    try:
        return parse_exactly(data, 1, IndexRule("fuzz", *SIZES, base))
    except LibsvmError as error:
        _check_message(error, "fuzz")
        return None


def _check_message(error: LibsvmError, name: str) -> None:
    assert str(error).startswith(name), str(error)
    assert "\n" not in str(error), str(error)


def _through_files(data: bytes, base: IndexBase, exact: RawRows | None) -> None:
    """Plain and compressed, whole and in blocks; and what was read, written and read again."""
    path = FOLDER / "rows.txt"
    found = []
    for content in (data, gzip.compress(data, 1)):
        path.write_bytes(content)
        found.append(_read(path, base))
        blocks = None
        try:
            blocks = list(iter_libsvm(path, *SIZES, index_base=base, block_bytes=7))
        except LibsvmError as error:
            _check_message(error, str(path))
        assert (blocks is None) == (found[-1] is None), "blocks differ from the whole"
        if blocks is not None and found[-1] is not None:
            dense = np.concatenate([block.matrix.toarray() for block in blocks])
            assert dense.tobytes() == found[-1].matrix.toarray().tobytes()
    plain = data.startswith((b"\x1f\x8b", b"\xef\xbb\xbf"))
    assert plain or (found[0] is None) == (exact is None or not exact.labels)
    if found[0] is not None and not plain:
        assert found[1] is not None
        assert found[0].labels.tolist() == found[1].labels.tolist()
        _write_and_read(found[0], path)


def _read(path: Path, base: IndexBase) -> LibsvmRows | None:
    try:
        return read_libsvm(path, *SIZES, index_base=base)
    except LibsvmError as error:
        _check_message(error, str(path))
        return None


def _write_and_read(rows: LibsvmRows, path: Path) -> None:
    text = BytesIO()
    write_libsvm(text, rows.matrix, rows.labels)
    path.write_bytes(text.getvalue())
    again = read_libsvm(path, *SIZES, index_base=IndexBase.one)
    assert again.matrix.toarray().tobytes() == rows.matrix.toarray().tobytes()
    assert again.labels.tolist() == rows.labels.tolist()


if __name__ == "__main__":
    run(check, SEEDS, TOKENS, count=200_000)
