"""Rows written as NumPy files, without time stamps: equal rows are equal files."""

import os
import zipfile
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bidnn.data.formats.arrays import npz_member
from bidnn.data.formats.writing import Block, Table, join
from bidnn.files import is_stream, whole_file

if TYPE_CHECKING:
    from bidnn.data.formats.tables.beside import Beside


def write_npz(
    path: Path, table: Table, blocks: Iterable[Block], *, zero_based: bool
) -> dict[str, Path]:
    """Members `embedding`, or `first` and `second`; `label`, `id` if known; and what is present.

    That is `present` (rows, 2); or, for features, `present_first` and `present_second`, with zeros
    where a modality is missing. Fingerprints are `fingerprint`, columns of a table have their own
    names. See Writer for the rest.
    """
    del zero_based
    with whole_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        if table.joined:
            with npz_member(archive, "embedding") as member:
                _write_header(member, len(table.present), sum(table.widths))
                for _, left, right in blocks:
                    member.write(join(left, right).data)
        else:
            folder = None if is_stream(path) else Path(os.path.realpath(path)).parent
            _write_modalities(archive, folder, table, blocks)
        if table.labels is not None:
            _write_member(archive, "label", table.labels)
        if table.ids is not None:
            _write_member(archive, "id", table.ids)
        if not table.features:
            _write_member(archive, "present", table.present)
        if table.fingerprints is not None:
            _write_member(archive, "fingerprint", table.fingerprints)
        if table.beside is not None:
            _write_columns(archive, table.beside, len(table.present))
    return {"path": path}


def _write_columns(archive: zipfile.ZipFile, beside: "Beside", rows: int) -> None:
    from bidnn.data.formats.tables.beside import as_array  # so late: see `formats/written.py`

    for field, values in zip(beside.fields, beside.take(slice(0, rows)), strict=True):
        _write_member(archive, field.name, as_array(field, values))


def _write_modalities(
    archive: zipfile.ZipFile, folder: Path | None, table: Table, blocks: Iterable[Block]
) -> None:
    """The second waits in a temporary file, because an archive's members are written one by one."""
    with TemporaryFile(dir=folder) as second:
        with npz_member(archive, "first") as member:
            _write_header(member, len(table.present), table.widths[0])
            for _, left, right in blocks:
                member.write(np.ascontiguousarray(left).data)
                second.write(np.ascontiguousarray(right).data)
        if table.features:
            _write_member(archive, "present_first", table.present[:, 0])
        second.seek(0)
        with npz_member(archive, "second") as member:
            _write_header(member, len(table.present), table.widths[1])
            while piece := second.read(2**22):
                member.write(piece)
        if table.features:
            _write_member(archive, "present_second", table.present[:, 1])


def write_npy(
    path: Path, table: Table, blocks: Iterable[Block], *, zero_based: bool
) -> dict[str, Path]:
    """One matrix of both halves; or, for features, a file each, of the labels and the ids too.

    These are `NAME_first.npy`, `NAME_second.npy`, `NAME_label.npy` and `NAME_id.npy`; a missing
    modality is a row of NaN. See Writer for the rest.
    """
    del zero_based
    rows = len(table.present)
    if not table.features:
        with whole_file(path) as file:
            _write_header(file, rows, sum(table.widths))
            for _, left, right in blocks:
                file.write(join(left, right).data)
        return {"path": path}
    lists = {"label": table.labels, "id": table.ids}
    texts = {name: values for name, values in lists.items() if values is not None}
    files = [path.with_name(f"{path.stem}_{name}.npy") for name in ("first", "second", *texts)]
    with ExitStack() as stack:
        opened = [stack.enter_context(whole_file(file)) for file in files]
        for file, width in zip(opened, table.widths, strict=False):
            _write_header(file, rows, width)
        for part, left, right in blocks:
            for modality, values in enumerate((left, right)):
                there = table.present[part, modality]
                opened[modality].write(np.where(there[:, None], values, np.float32(np.nan)).data)
        for file, text in zip(opened[2:], texts.values(), strict=True):
            np.lib.format.write_array(file, text, allow_pickle=False)
    keys = ("first", "second", *("ids" if name == "id" else name for name in texts))
    return dict(zip(keys, files, strict=True))


def _write_header(file: IO[bytes], rows: int, width: int) -> None:
    """Begins an npy file of float32, whose values the caller writes row by row."""
    header = {"descr": "<f4", "fortran_order": False, "shape": (rows, width)}
    np.lib.format.write_array_header_1_0(file, header)


def _write_member(archive: zipfile.ZipFile, name: str, values: NDArray[Any]) -> None:
    with npz_member(archive, name) as member:
        np.lib.format.write_array(member, values, allow_pickle=False)
