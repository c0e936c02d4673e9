"""Fuzzes what is read from npz, npy and model files, under a limit of memory.

python fuzz/archives.py --count 200000
"""

import io
import resource
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mutation import run

from bidnn.architecture import NetworkConfig
from bidnn.data.formats.arrays import read_npz
from bidnn.data.formats.npy import read_npy
from bidnn.model.model import Model
from bidnn.model.saved import load_bundle, save_bundle
from bidnn.network import Network
from bidnn.original.model_file import read_model, write_model

FOLDER = Path(tempfile.mkdtemp())
MEMORY = 6 * 2**30
HEADERS = (
    b"'shape': (1152921504606846976, 3)",
    b"'shape': (-1, 3)",
    b"'shape': (3,)",
    b"'shape': ()",
    b"'descr': '|O'",
    b"'descr': '<f2'",
    b"'descr': '<c16'",
    b"'descr': [('a', '<f4')]",
    b"'fortran_order': True",
    b"((((((((((",
    b"PK\x05\x06" + bytes(18),
    b"PK\x01\x02",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x80",
    b"cos\nsystem\n",
    b"first.npy",
)


def _seeds() -> list[bytes]:
    """A letter for the reader, then a well-formed file."""
    first, second = np.ones((4, 2), np.float32), np.full((4, 3), 0.5, np.float32)
    found = []
    for save in (np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        save(buffer, first=first, second=second, label=np.array(list("abca")))
        found.append(b"z" + buffer.getvalue())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("first.npy", "second.npy", "first.npy"):
            content = io.BytesIO()
            np.save(content, first)
            archive.writestr(name, content.getvalue())
    found.append(b"z" + buffer.getvalue())
    buffer = io.BytesIO()
    np.save(buffer, first)
    found.append(b"y" + buffer.getvalue())
    config = NetworkConfig(hdn=2, rep=2)
    save_bundle(FOLDER / "seed.pt", Model(2, 3, config))
    found.append(b"b" + (FOLDER / "seed.pt").read_bytes())
    write_model(FOLDER / "seed.npz", Network(2, 3, config))
    found.append(b"o" + (FOLDER / "seed.npz").read_bytes())
    np.save(FOLDER / "whole.npy", second)
    return found


READERS: dict[bytes, tuple[str, Callable[[Path], Any]]] = {
    b"z": ("x.npz", lambda path: read_npz(path, ignore_zeroes=True)),
    b"y": ("x.npy", lambda path: read_npy(path, FOLDER / "whole.npy", ignore_zeroes=True)),
    b"b": ("x.pt", load_bundle),
    b"o": ("model.npz", read_model),
}


def check(data: bytes) -> bool:
    """Whether the file is accepted; if not, it must be refused in one line that names it."""
    if data[:1] not in READERS:
        return False
    name, read = READERS[data[:1]]
    path = FOLDER / name
    path.write_bytes(data[1:])
    try:
        read(path)
    except (ValueError, OSError) as error:
        assert name in str(error), f"the message does not name the file: {error}"
        assert "\n" not in str(error), f"more than one line: {error}"
        return False
    return True


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    zipfile.ZipFile.testzip = lambda _: None  # type: ignore[method-assign]  # else all ends there
    run(check, _seeds(), HEADERS, count=200_000)
