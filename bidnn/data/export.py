"""Rows of two modalities written as npz, as npy files, or as libsvm text, block by block."""

import logging
import zipfile
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np

from bidnn.data.formats.arrays import npz_member, write_header
from bidnn.data.formats.libsvm.text import write_libsvm
from bidnn.data.store import PairStore
from bidnn.files import whole_file

log = logging.getLogger(__name__)


def export(store: PairStore, path: Path, *, zero_based: bool = False) -> dict[str, Path]:
    """Writes a store in the format that the name of the file says, each file whole or not at all.

    Args:
        store: the rows.
        path: `.npz`: an archive of `first`, `second`, `label`, `present_first`, `present_second`;
            `.npy`: `NAME_first.npy`, `NAME_second.npy` and `NAME_label.npy`, in which a missing
            modality is a row of NaN; anything else: libsvm text, in which it is left out.
        zero_based: indices of libsvm text start at 0.

    Returns:
        The files by what is in them: `path`, or `first`, `second` and perhaps `label`.

    Raises:
        OSError: if one cannot be written.
    """
    if path.suffix == ".npz":
        with whole_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            _write_npz(store, archive)
    elif path.suffix == ".npy":
        names = ["first", "second"] + ([] if store.labels is None else ["label"])
        files = {name: path.with_name(f"{path.stem}_{name}.npy") for name in names}
        for modality, name in enumerate(names[:2]):
            with whole_file(files[name]) as file:
                _write_modality(store, modality, file, np.nan)
        if store.labels is not None:
            with whole_file(files["label"]) as file:
                np.lib.format.write_array(file, store.labels, allow_pickle=False)
        return files
    else:
        with whole_file(path) as file:
            _write_text(store, file, zero_based=zero_based)
    return {"path": path}


def _write_npz(store: PairStore, archive: zipfile.ZipFile) -> None:
    for modality, name in enumerate(("first", "second")):
        with npz_member(archive, name) as member:
            _write_modality(store, modality, member, 0.0)
        with npz_member(archive, f"present_{name}") as member:
            np.lib.format.write_array(member, store.present[:, modality], allow_pickle=False)
    if store.labels is not None:
        with npz_member(archive, "label") as member:
            np.lib.format.write_array(member, np.asarray(store.labels), allow_pickle=False)


def _write_modality(store: PairStore, modality: int, file: IO[bytes], missing: float) -> None:
    write_header(file, (len(store), (store.mod1size, store.mod2size)[modality]))
    for rows in store.blocks():
        values = store.take(rows)[modality]
        values[~store.present[rows, modality]] = missing
        file.write(values.data)


def _write_text(store: PairStore, file: BinaryIO, *, zero_based: bool) -> None:
    empty = 0
    for rows in store.blocks():
        parts = store.take(rows)
        for modality, part in enumerate(parts):
            empty += int((store.present[rows, modality] & ~part.any(axis=1)).sum())
        labels = np.full(len(parts[0]), "0") if store.labels is None else store.labels[rows]
        matrix = np.concatenate(parts, axis=1)
        write_libsvm(file, matrix, labels, zero_based=zero_based)
    if empty:
        log.warning(
            "%d modalities of rows are present but all zero, which libsvm text cannot tell from "
            "missing; read it with data.ignore_zeroes=true, or write npz",
            empty,
        )
