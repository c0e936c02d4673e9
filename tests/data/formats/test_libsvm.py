"""libsvm text read: what is accepted, how, and what is refused with which reason."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidnn.data.formats.libsvm.arrow import parse_fast
from bidnn.data.formats.libsvm.grammar import IndexRule, parse_exactly
from bidnn.data.formats.libsvm.text import (
    IndexBase,
    LibsvmError,
    LibsvmRows,
    iter_libsvm,
    read_libsvm,
)
from tests.data.formats.libsvm_files import FIRST, SECOND, SIZE, float32, message, save


def join(blocks: list[LibsvmRows]) -> tuple[np.ndarray, list[str]]:
    dense = np.concatenate([block.matrix.toarray() for block in blocks])
    return dense, [label for block in blocks for label in block.labels.tolist()]


def test_labels_stay_as_they_are_and_rows_may_be_empty(tmp_path):
    path = save(tmp_path, "+1 1:1\n1.0\n3,7 7:2\ncat \n-e3 2:5 # 3:1 a comment\nüñ")
    read = read_libsvm(path, FIRST, SECOND)
    assert read.labels.tolist() == ["+1", "1.0", "3,7", "cat", "-e3", "üñ"]
    expected = np.zeros((6, SIZE))
    expected[0, 0], expected[2, 6], expected[4, 1] = 1, 2, 5
    np.testing.assert_array_equal(read.matrix.toarray(), expected)


@pytest.mark.parametrize(
    "text",
    [
        "1 1:2 3:4\n2 7:1\n",
        "1 1:2 3:4\n2 7:1",
        "1 1:2 3:4\r\n2 7:1\r\n",
        "\n# all of it\n\n1\t1:2   3:4 \n  \n  2 7:1#x 9:9\n\n",
        "1 3:4 1:2\n2 2:0 7:1\n",
        "1 01:2.0 0000000000003:+4.\n2 7:.1e1\n",
        "\ufeff1 1:2e0 3:0.4E+1\n2 7:1\n",
    ],
)
def test_harmless_variations_read_the_same(tmp_path, text):
    read = read_libsvm(save(tmp_path, text), FIRST, SECOND)
    np.testing.assert_array_equal(
        read.matrix.toarray(), [[2, 0, 4, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1]]
    )
    assert read.labels.tolist() == ["1", "2"]
    assert read.matrix.nnz == 3


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a 8:1", "index 8 in '8:1' is beyond mod1size + mod2size = 3 + 4 = 7"),
        ("a 4294967297:1", "index 4294967297 in '4294967297:1' is beyond"),
        ("a " + "9" * 5000 + ":1", "(5002 characters) is beyond mod1size"),
        ("a 1:2 3:4 1:5", "index 1 comes twice"),
        ("a 1:2 1:2", "index 1 comes twice"),
        ("a 1:2 01:0", "index 1 comes twice"),
        ("a 1:2 -3:1", "the index of '-3:1' is negative"),
        ("a +3:1", "the index of '+3:1' is not a plain integer"),
        ("a 1.0:1", "the index of '1.0:1' is not a plain integer"),
        ("a 1e0:1", "the index of '1e0:1' is not a plain integer"),
        ("a qid:1", "the index of 'qid:1' is not a plain integer"),
        ("a ٣:1", "the index of '٣:1' is not a plain integer"),
        ("a 1_0:1", "the index of '1_0:1' is not a plain integer"),
        ("a :3", "the index of ':3' is not a plain integer"),
        ("a 1:2 3", "'3' has no colon"),
        ("a 1:2 12", "'12' has no colon"),
        ("a b 1:2", "'b' has no colon"),
        ("a 1:", "'1:' has no value after the colon"),
        ("a 1: 2", "'1:' has no value after the colon"),
        ("a 1 :2", "'1' has no colon"),
        ("1:2 3:4", "the row starts with '1:2', not with a label"),
        (" :3 4:1", "the row starts with ':3', not with a label"),
        ("a 1:nan", "the value of '1:nan' is not finite"),
        ("a 1:-Inf", "the value of '1:-Inf' is not finite"),
        ("a 1:infinity", "the value of '1:infinity' is not finite"),
        ("a 1:1e39", "the value of '1:1e39' is too large for float32"),
        ("a 1:-3.4028236e38", "the value of '1:-3.4028236e38' is too large for float32"),
        ("a 1:1e999999999999999999999", "is too large for float32"),
        ("a 1:" + "9" * 5000, "(5002 characters) is too large for float32"),
        ("a" * 1001, "is longer than 1000 bytes"),
        (b"\xff\xfe 1:2", "the label '\\\\xff\\\\xfe' is not UTF-8"),
        (b"a 1:2\0", "a NUL byte"),
    ]
    + [
        (f"a 2:1 1:{value}", f"the value of '1:{value}' is not a decimal number")
        for value in (
            *("0x10", "1_000", "1e", "1e+", "--1", "+-1", ":2", "2:3", "1.5f", "1d5", "1,5", "."),
            *("-", "+", "-.", "e5", ".e5", "1.2.3", "1e5.0", "1e5e5", "1-2", "1+", "٣", "¼", "½1"),
            *("1e5-", "1:5", "nan1", "1j", "(1)", "1%"),
        )
    ],
)
def test_a_bad_line_is_named_with_its_reason(tmp_path, line, reason):
    text = line if isinstance(line, bytes) else line.encode()
    good = "b 1:1 2:0.5 7:3e-2"
    for before, number in ((f"{good}\n# comment\n\n", 4), (f"{good}\n" * 9, 10), ("", 1)):
        for after in ("", f"\n{good}\na 1:x\n"):
            path = save(tmp_path, before.encode() + text + after.encode())
            found = message(path)
            assert found.startswith(f"{path}, line {number}: ")
            assert reason in found
            with pytest.raises(LibsvmError) as caught:
                list(iter_libsvm(path, FIRST, SECOND, block_bytes=30))
            assert str(caught.value) == found


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", " \t\r\n", "\ufeff"])
def test_a_file_without_rows_is_refused(tmp_path, text):
    assert "no row in the file" in message(save(tmp_path, text))


def test_a_path_that_cannot_be_read_is_named(tmp_path):
    assert "cannot be read (No such file or directory)" in message(tmp_path / "absent.txt")
    assert "a folder or device, not a file" in message(tmp_path)


def test_a_byte_order_mark_within_a_file_is_refused(tmp_path):
    """Found by fuzz/libsvm.py: it was read as part of a label that could not be written."""
    mark = b"\xef\xbb\xbf"
    assert "line 2: a byte order mark" in message(save(tmp_path, b"a 1:2\n" + mark + b"b 1:2\n"))
    assert "line 1: a byte order mark" in message(save(tmp_path, mark + mark + b"b 1:2\n"))


def test_utf16_text_is_refused_as_binary(tmp_path):
    assert "line 1: a NUL byte" in message(save(tmp_path, "1 1:2\n".encode("utf-16")))


def test_sizes_must_make_sense(tmp_path):
    with pytest.raises(ValueError, match="must be at least 1"):
        read_libsvm(tmp_path, 0, 4)
    with pytest.raises(ValueError, match="at most"):
        list(iter_libsvm(tmp_path, 10**8, 4))


BASES = {
    # text: what auto, one and zero make of it, as the columns that are set, or a part of the error
    "a 1:1\nb 2:1\n": ({0, 1}, {0, 1}, {1, 2}),
    "a 1:1\nb 0:1\n": ({0, 1}, "line 2: index 0 in '0:1' cannot be", {0, 1}),
    "a 1:1\nb 0:0\n": ({1}, "line 2: index 0 in '0:0' cannot be", {1}),
    "a 7:1\nb 3:1\n": ({6, 2}, {6, 2}, "line 1: index 7 in '7:1' is beyond the last column"),
    "a 1:1\nb 0:1\nc 2:1\nd 7:1\n": (
        "line 4: index 7 in '7:1' is beyond the last column of mod1size + mod2size = 3 + 4 = 7, "
        "because line 2 has an index 0",
        "line 2: index 0 in '0:1' cannot be, because the indices are declared to start at 1",
        "line 4: index 7 in '7:1' is beyond the last column of mod1size + mod2size = 3 + 4 = 7, "
        "because the indices are declared to start at 0",
    ),
    "a 1:1\nb 7:1\nc 0:1\n": (
        "line 3: index 0 in '0:1' cannot be, because line 2 has the index 7",
        "line 3: index 0 in '0:1' cannot be",
        "line 2: index 7 in '7:1' is beyond the last column",
    ),
    "a 0:1 7:1\n": ("because line 1 has an index 0", "index 0 in", "index 7 in"),
    "a 7:1 0:1\n": ("because line 1 has the index 7", "index 0 in", "index 7 in"),
    "a 8:1\n": ("index 8 in '8:1' is beyond mod1size",) * 3,
}


@pytest.mark.parametrize("block_bytes", [1, 1 << 20])
@pytest.mark.parametrize("text", BASES)
def test_the_index_base_is_as_declared_or_as_the_file_shows(tmp_path, text, block_bytes):
    path = save(tmp_path, text)
    for base, expected in zip(IndexBase, BASES[text], strict=True):
        if isinstance(expected, str):
            found = message(path, base)
            assert expected in found
            with pytest.raises(LibsvmError) as caught:
                list(iter_libsvm(path, FIRST, SECOND, index_base=base, block_bytes=block_bytes))
            assert str(caught.value) == found
        else:
            read = read_libsvm(path, FIRST, SECOND, index_base=base)
            assert set(read.matrix.indices.tolist()) == expected
            blocks = iter_libsvm(path, FIRST, SECOND, index_base=base, block_bytes=block_bytes)
            np.testing.assert_array_equal(join(list(blocks))[0], read.matrix.toarray())


value_texts = st.one_of(
    float32.map(repr),
    st.floats(allow_nan=False, allow_infinity=False, min_value=-3e38, max_value=3e38).map(repr),
    st.integers(-(10**25), 10**25).map(str),
    st.tuples(float32, st.integers(0, 30)).map(lambda pair: f"{pair[0]:.{pair[1]}e}"),
    st.tuples(st.floats(-1e9, 1e9), st.integers(0, 30)).map(lambda pair: f"{pair[0]:.{pair[1]}f}"),
    # Halfway between two float32 values, exactly and nearly: where rounding is hardest.
    st.tuples(
        st.floats(width=32, min_value=2.0**-100, max_value=2.0**100),
        st.sampled_from(["{:.17g}", "{:.20g}", "{:.25g}", "{:.60f}"]),
    ).map(lambda pair: pair[1].format(halfway(pair[0]))),
    st.from_regex(r"[0-9.eE+-]{1,6}", fullmatch=True),
)


def halfway(value: float) -> float:
    return (value + float(np.nextafter(np.float32(value), np.float32(np.inf)))) / 2


@given(texts=st.lists(value_texts, min_size=1, max_size=SIZE))
@settings(max_examples=400, deadline=None)
def test_a_value_is_the_float32_of_what_python_reads_or_refused(folder, texts):
    path = save(folder, "a " + " ".join(f"{i}:{text}" for i, text in enumerate(texts, 1)) + "\n")
    try:
        with np.errstate(over="ignore"):
            expected = np.array([float(text) for text in texts]).astype(np.float32)
    except ValueError:
        expected = np.array([np.inf])
    if np.isfinite(expected).all():
        read = read_libsvm(path, FIRST, SECOND, index_base=IndexBase.one).matrix.toarray()
        np.testing.assert_array_equal(read[0, : len(texts)], expected)
    else:
        message(path, IndexBase.one)


@st.composite
def files(draw) -> bytes:
    """Text that is well formed, or nearly so."""
    lines = []
    for _ in range(draw(st.integers(1, 4))):
        indices = draw(st.lists(st.integers(0, SIZE), max_size=5, unique=draw(st.booleans())))
        if draw(st.booleans()):
            indices.sort()
        parts = [draw(st.sampled_from(["+1", "1.0", "cat", "-e3", "é", ""]))]
        parts += [f"{index}:{draw(value_texts)}" for index in indices]
        line = draw(st.sampled_from([" ", " ", " ", "  ", "\t"])).join(parts)
        lines.append(line + draw(st.sampled_from(["", "", "", " ", "\r", " # 1:1", "\n"])))
    text = bytearray("\n".join(lines).encode())
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        at = draw(st.integers(0, len(text)))
        text[at : at + draw(st.integers(0, 1))] = draw(
            st.sampled_from([b"", b" ", b":", b".", b"-", b"e", b"\n", b"7", b"0", b"\xff", b"\0"])
        )
    return bytes(text)


@given(text=files(), base=st.sampled_from(IndexBase))
@settings(max_examples=800, deadline=None)
def test_the_fast_parser_agrees_with_the_exact_one_or_gives_up(text, base):
    exact_rule, fast_rule = (IndexRule("file", FIRST, SECOND, base) for _ in range(2))
    fast = parse_fast(text, 1, fast_rule)
    accepted = fast is not None and fast_rule.take_note(fast)
    try:
        exact = parse_exactly(text, 1, exact_rule)
    except LibsvmError:
        assert not accepted
        return
    if fast is not None and accepted:
        assert fast.labels == exact.labels
        assert fast.values.tobytes() == exact.values.tobytes()
        np.testing.assert_array_equal(fast.indices, exact.indices)
        np.testing.assert_array_equal(fast.indptr, exact.indptr)
        assert fast_rule == exact_rule


@pytest.mark.parametrize(
    "text",
    [
        b"1 1:0.5 2:-3 7:1e-5\ncat\n\n1.0 3:12345.678\n",
        b"1 1:0.1257302165031433 2:-0.04132597893476486 3:0.9470809698104858\n",
        b"1\t1:0.5  2:-3 \r\n2 7:1E+05 # comment\n",
        b"1 7:1 2:3\n2 5:4 3:2.",
    ],
)
def test_the_fast_parser_does_not_give_up_on_ordinary_text(text):
    rule = IndexRule("file", FIRST, SECOND, IndexBase.auto)
    assert parse_fast(text, 1, rule) is not None


@given(text=files(), block_bytes=st.integers(1, 40))
@settings(max_examples=250, deadline=None)
def test_blocks_together_are_the_whole_file(folder, text, block_bytes):
    path = save(folder, text)

    def outcome(read) -> tuple[object, object]:
        try:
            dense, labels = join(read())
        except LibsvmError as error:
            return str(error), None
        return dense.tobytes(), labels

    whole = outcome(lambda: [read_libsvm(path, FIRST, SECOND)])
    blocks = outcome(lambda: list(iter_libsvm(path, FIRST, SECOND, block_bytes=block_bytes)))
    assert blocks == whole
