"""libsvm files as they come: compressed, cut off, wide, with lines longer than a block."""

import gzip
import subprocess
import sys
from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_array, random_array, vstack

from bidnn.data.formats.libsvm.grammar import IndexRule, parse_exactly
from bidnn.data.formats.libsvm.text import (
    BLOCK_BYTES,
    IndexBase,
    LibsvmError,
    iter_libsvm,
    read_libsvm,
)
from tests.data.formats.libsvm_files import FIRST, SECOND, SIZE, message, save, written


def test_gzip_is_told_by_content_not_by_name(tmp_path):
    text = b"a 1:2\nb 7:1\n"
    for name, content in (("rows.txt", gzip.compress(text)), ("rows.gz", text)):
        read = read_libsvm(save(tmp_path, content, name), FIRST, SECOND)
        assert read.labels.tolist() == ["a", "b"]
        assert read.matrix.toarray()[1, 6] == 1


def test_gzip_that_is_cut_off_or_damaged_is_refused(tmp_path):
    rows = np.random.default_rng(2).standard_normal((200, SIZE)).astype(np.float32)
    whole = gzip.compress(written(rows, ["a"] * 200))
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    for content in (whole[: len(whole) // 2], whole[:-4], bytes(damaged), whole + b"junk"):
        assert "the gzip file is cut off or damaged" in message(save(tmp_path, content, "a.gz"))


def outcome(read: Callable[[], object]) -> object:
    try:
        return read()
    except LibsvmError as error:
        return str(error)


def test_a_file_that_is_cut_anywhere_is_what_the_grammar_makes_of_the_rest(tmp_path):
    text = b"a 1:0.25 3:-1.5e-3\nb 2:12.5 7:3E+1\n"

    def fast():
        read = read_libsvm(path, FIRST, SECOND)
        return read.labels.tolist(), read.matrix.data.tolist()

    def exactly():
        rows = parse_exactly(text[:end], 1, IndexRule(str(path), FIRST, SECOND, IndexBase.auto))
        return rows.labels, rows.values[rows.values != 0].tolist()

    for end in range(1, len(text)):
        path = save(tmp_path, text[:end])
        assert outcome(fast) == outcome(exactly)
    assert "line 1: '3' has no colon" in message(save(tmp_path, text[:10]))
    assert "'3:-1.5e' is not a decimal number" in message(save(tmp_path, text[:16]))


def test_rows_may_be_wide_and_lines_longer_than_a_block(tmp_path):
    size = 100_000
    draw = np.random.default_rng(4)
    rows = random_array((300, size), density=2e-3, format="csr", rng=draw, dtype=np.float32)
    rows = csr_array(vstack([rows, np.full((1, size), 1 / 3, np.float32)]))
    labels = [f"row{number}" for number in range(301)]
    path = save(tmp_path, written(rows, labels))
    assert max(map(len, path.read_bytes().splitlines())) > BLOCK_BYTES
    read = read_libsvm(path, 60_000, 40_000)
    assert read.labels.tolist() == labels
    assert (read.matrix != rows).nnz == 0
    assert read.matrix.nnz == rows.nnz


def test_a_number_may_be_longer_than_a_block(tmp_path):
    """pyarrow gives up on it: a field of a CSV file is within one of its blocks."""
    long = b"0." + b"3" * (2 * BLOCK_BYTES)
    read = read_libsvm(save(tmp_path, b"a 1:1 2:" + long + b" 7:2\nb 3:4\n"), FIRST, SECOND)
    third = np.float32(1 / 3)
    np.testing.assert_array_equal(
        read.matrix.toarray(), [[1, third, 0, 0, 0, 0, 2], [0, 0, 4, 0, 0, 0, 0]]
    )


def test_a_compressed_file_of_several_blocks_reads_as_the_plain_one(tmp_path):
    rows = np.random.default_rng(5).standard_normal((40_000, SIZE)).astype(np.float32)
    text = written(rows, ["a"] * len(rows))
    assert len(text) > 2 * BLOCK_BYTES
    read = read_libsvm(save(tmp_path, gzip.compress(text, 1), "rows.gz"), FIRST, SECOND)
    np.testing.assert_array_equal(read.matrix.toarray(), rows)


def test_pyarrow_is_imported_only_when_libsvm_text_is_read():
    program = "import sys, bidnn.data.sources; sys.exit('pyarrow' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_reading_may_stop_early(tmp_path):
    path = save(tmp_path, "a 1:2\n" * 1000 + "broken 1:x\n")
    blocks = iter_libsvm(path, FIRST, SECOND, index_base=IndexBase.one, block_bytes=60)
    assert set(next(blocks).labels.tolist()) == {"a"}
    blocks.close()
