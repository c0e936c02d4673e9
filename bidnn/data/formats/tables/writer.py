"""Rows written as a parquet file."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from bidnn.data.formats.writing import Block, Table, join
from bidnn.files import whole_file


def write_parquet(
    path: Path, table: Table, blocks: Iterable[Block], *, zero_based: bool
) -> dict[str, Path]:
    """Columns `id` and `label` if known; `embedding`, or `first` and `second`; and what is present.

    Vectors are fixed-size lists of float32. What features lack is null; of a model's outputs
    `present_first` and `present_second` tell what a row had, `fingerprint` which values it was made
    of. Columns of a table follow as they were there. Each block is a row group, which can be read
    by itself. See Writer for the rest.
    """
    del zero_based
    widths = (sum(table.widths),) if table.joined else table.widths
    names = ("embedding",) if table.joined else ("first", "second")
    single = {"id": table.ids, "label": table.labels}
    if not table.features:
        single |= {f"present_{n}": table.present[:, k] for k, n in enumerate(("first", "second"))}
        single["fingerprint"] = table.fingerprints
    known = {name: values for name, values in single.items() if values is not None}
    beside = [] if table.beside is None else table.beside.fields
    schema = pa.schema(
        [
            *(pa.field(n, _kind(known[n])) for n in ("id", "label") if n in known),
            *(
                pa.field(name, _list(width), nullable=table.features)
                for name, width in zip(names, widths, strict=True)
            ),
            *(pa.field(n, pa.bool_()) for n in known if n.startswith("present")),
            *(pa.field(n, pa.int64()) for n in known if n == "fingerprint"),
            *beside,
        ],
        metadata=dict(table.about),
    )
    # Values of floats hardly repeat, and their smallest and largest tell nothing: no dictionary,
    # statistics or compression, each of which takes longer than writing.
    told = [*known, *(field.name for field in beside)]
    plain = {"use_dictionary": told, "write_statistics": told, "compression": "none"}
    with whole_file(path) as file, parquet.ParquetWriter(file, schema, **plain) as writer:
        for part, left, right in blocks:
            halves = [join(left, right)] if table.joined else [left, right]
            there = table.present[part].T if table.features else [None, None]
            columns = {name: pa.array(values[part]) for name, values in known.items()}
            for name, values, mask in zip(names, halves, there, strict=False):
                columns[name] = lists(values, mask)
            if table.beside is not None:
                taken = zip(beside, table.beside.take(part), strict=True)
                columns |= {field.name: values for field, values in taken}
            arrays = [columns[name] for name in schema.names]
            rows = pa.Table.from_arrays(arrays, schema=schema)
            writer.write_table(rows, row_group_size=max(1, len(rows)))
    return {"path": path}


def _kind(values: NDArray[np.generic]) -> pa.DataType:
    return pa.int64() if values.dtype.kind == "i" else pa.string()


def lists(values: NDArray[np.float32], there: NDArray[np.bool_] | None = None) -> pa.Array:
    """Rows as lists of fixed size; null where one is not there."""
    flat = pa.array(np.ascontiguousarray(values).ravel())
    mask = None if there is None or there.all() else pa.array(~there)
    return pa.FixedSizeListArray.from_arrays(flat, type=_list(values.shape[1]), mask=mask)


def _list(width: int) -> pa.DataType:
    return pa.list_(pa.field("element", pa.float32(), nullable=False), width)
