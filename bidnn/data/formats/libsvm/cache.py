"""A libsvm file's rows as arrays on disk, mapped by every later run instead of parsing text again.

They are in a folder beside the file, `FILE.cache/KEY`. The key is made of the file's content and of
how it is read, so that a changed file is read anew; what its earlier contents left is removed then.
The folder may be deleted at any time.
"""

import hashlib
import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from bidnn.data.formats.libsvm.grammar import IndexBase
from bidnn.data.formats.libsvm.text import Digest, LibsvmError, changed_error, iter_libsvm
from bidnn.data.formats.mapped import append, map_array, open_mapped
from bidnn.data.mapping import MappedFile
from bidnn.data.store import PairStore, Reading

log = logging.getLogger(__name__)

DENSE_SHARE = 0.1
FORMAT = 2
PARTS = ("first", "second")
LABEL_BYTES = 2**22
WIDE_FROM = 2**31  # values of a modality from which SciPy needs indices of 64 bits


def open_cache(path: Path, sizes: tuple[int, int], base: IndexBase) -> PairStore | None:
    """The rows of a libsvm file from its cache, which is made if there is none.

    Args:
        path: the libsvm file.
        sizes: mod1size and mod2size.
        base: where indices start.

    Returns:
        The rows, mapped; a row is present where it is not all zero. None if no cache can be made
        here, because the folder cannot be written or the disk is full.

    Raises:
        LibsvmError: if the file cannot be read; nothing is left behind then.
    """
    try:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None  # whoever reads the text says what is wrong
    origin = f"{content[:32]}-{FORMAT}-"
    folder = path.with_name(f"{path.name}.cache") / f"{origin}{sizes[0]}-{sizes[1]}-{base.value}"
    try:
        meta = open_mapped(folder, origin, lambda empty: _fill(empty, path, sizes, base, content))
    except LibsvmError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        log.info("%s: no cache can be made beside it (%s); it is read into memory", path, reason)
        return None
    return None if meta is None else _open(folder, meta, sizes, str(path))


def _fill(
    folder: Path, path: Path, sizes: tuple[int, int], base: IndexBase, content: str
) -> dict[str, Any]:
    """Parses the file into a folder; returns what there is.

    Raises:
        LibsvmError: if its SHA-256 is no longer `content`.
    """
    digest = hashlib.sha256()
    meta = _parse(path, sizes, base, folder, digest)
    for part in PARTS:
        if meta[part]["values"] >= DENSE_SHARE * meta["rows"] * meta[part]["columns"]:
            _make_dense(folder, part, meta)
    if digest.hexdigest() != content:
        raise changed_error(path)
    return meta


def _parse(
    path: Path, sizes: tuple[int, int], base: IndexBase, folder: Path, digest: Digest
) -> dict[str, Any]:
    """Writes both modalities as compressed rows, and the labels; returns what there is."""
    meta: dict[str, Any] = {"rows": 0, "label_length": 1, "label_bytes": 0}
    edges = ((0, sizes[0]), (sizes[0], sum(sizes)))
    for part, size in zip(PARTS, sizes, strict=True):
        meta[part] = {"columns": size, "values": 0, "dense": False}
        append(folder / f"{part}.starts", np.zeros(1, np.int64))
        append(folder / f"{part}.indices", np.zeros(0, np.int32))
        append(folder / f"{part}.values", np.zeros(0, np.float32))
    for block in iter_libsvm(path, *sizes, index_base=base, digest=digest):
        for part, (low, high) in zip(PARTS, edges, strict=True):
            rows = block.matrix[:, low:high]
            starts = rows.indptr[1:].astype(np.int64) + meta[part]["values"]
            append(folder / f"{part}.starts", starts)
            append(folder / f"{part}.indices", rows.indices.astype(np.int32, copy=False))
            append(folder / f"{part}.values", rows.data)
            append(folder / f"{part}.present", np.diff(rows.indptr) > 0)
            meta[part]["values"] += int(rows.nnz)
        append(folder / "labels.txt", np.frombuffer(_lines(block.labels), np.uint8))
        meta["rows"] += len(block.labels)
        meta["index_base"] = block.index_base.value
        meta["label_length"] = max(meta["label_length"], block.labels.dtype.itemsize // 4)
    _make_labels(folder, meta)
    for part in PARTS:
        if meta[part]["values"] >= WIDE_FROM:
            _widen(folder / f"{part}.indices")
    return meta


def _widen(path: Path) -> None:
    """Makes indices 64 bits wide, as the starts must be: SciPy wants both of one type."""
    narrow = np.memmap(path, np.int32, "r")
    wide = path.with_suffix(".wide")
    for start in range(0, len(narrow), 2**22):
        append(wide, narrow[start : start + 2**22].astype(np.int64))
    wide.replace(path)


def _lines(labels: NDArray[np.str_]) -> bytes:
    return "".join(f"{label}\n" for label in labels.tolist()).encode()


def _make_labels(folder: Path, meta: dict[str, Any]) -> None:
    """Turns lines into an array of the longest label's width, some at a time."""
    kind = f"<U{meta['label_length']}"
    with (folder / "labels.txt").open(encoding="utf-8", newline="\n") as file:
        while lines := file.readlines(LABEL_BYTES):
            labels = np.array([line.removesuffix("\n") for line in lines], dtype=kind)
            append(folder / "labels", labels.view(np.uint8))
    (folder / "labels.txt").unlink()


def _make_dense(folder: Path, part: str, meta: dict[str, Any]) -> None:
    """Replaces a modality's compressed rows by a matrix."""
    rows = _sparse(folder, part, meta)
    step = max(1, 2**22 // meta[part]["columns"])
    with (folder / f"{part}.matrix").open("wb") as file:
        for start in range(0, meta["rows"], step):
            file.write(rows[start : start + step].toarray().data)
    for kind in ("starts", "indices", "values"):
        (folder / f"{part}.{kind}").unlink()
    meta[part]["dense"] = True


def _open(folder: Path, meta: dict[str, Any], sizes: tuple[int, int], name: str) -> PairStore:
    rows = meta["rows"]
    present = [np.fromfile(folder / f"{part}.present", np.bool_) for part in PARTS]
    labels = map_array(folder / "labels", f"<U{meta['label_length']}", (rows,))
    first, second = (
        map_array(folder / f"{part}.matrix", np.float32, (rows, size))
        if meta[part]["dense"]
        else _sparse(folder, part, meta)
        for part, size in zip(PARTS, sizes, strict=True)
    )
    reading = Reading(IndexBase(meta["index_base"]))
    files = tuple(MappedFile.of(folder / file) for file in meta["files"])
    return PairStore(first, second, np.stack(present, axis=1), labels, name, reading, files)


def _sparse(folder: Path, part: str, meta: dict[str, Any]) -> csr_array:
    count = meta[part]["values"]
    kind = np.int64 if count >= WIDE_FROM else np.int32
    starts = map_array(folder / f"{part}.starts", np.int64, (meta["rows"] + 1,)).astype(
        kind, copy=False
    )
    indices = map_array(folder / f"{part}.indices", kind, (count,))
    values = map_array(folder / f"{part}.values", np.float32, (count,))
    shape = (meta["rows"], meta[part]["columns"])
    matrix = csr_array((values, indices, starts), shape=shape, copy=False)
    matrix.has_canonical_format = True
    return matrix
