"""libsvm files of a test's own."""

import io
from pathlib import Path

from hypothesis import strategies as st

from bidnn.data.formats.libsvm.text import write_libsvm

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
