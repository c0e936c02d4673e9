"""libsvm files of a test's own."""

import io
from pathlib import Path

import pytest
from hypothesis import strategies as st

from bidnn.data.formats.libsvm.text import IndexBase, LibsvmError, read_libsvm, write_libsvm

FIRST, SECOND = 3, 4
SIZE = FIRST + SECOND

float32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


def save(folder: Path, text: str | bytes, name: str = "rows.txt") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def written(rows, labels, **options) -> bytes:
    file = io.BytesIO()
    write_libsvm(file, rows, labels, **options)
    return file.getvalue()


def message(path: Path, base: IndexBase = IndexBase.auto) -> str:
    with pytest.raises(LibsvmError) as caught:
        read_libsvm(path, FIRST, SECOND, index_base=base)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text
