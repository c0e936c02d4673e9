"""Rows that come to those of an index: after them, or in the place of some."""

from dataclasses import replace as with_other

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute

from bidnn.data.frames import ID
from bidnn.errors import UserError
from bidnn.model.about import check_alike
from bidnn.search.embeddings import Embedding


def check_fits(source: Embedding, size: int, about: dict[str, str]) -> None:
    """Refuses vectors that are not to be compared with those of an index.

    Args:
        source: what is added.
        size: values of each vector of the index.
        about: what the index says of its model.

    Raises:
        UserError: if they have another size, or are of another model by what is said of it.
    """
    if source.size != size:
        raise UserError(
            f"{source.name}: vectors of {source.size} values, and the index has {size}; they must "
            "be of one model"
        )
    check_alike(
        source.name,
        source.about,
        about,
        others="those of the index",
        hint="embed them with the index's model and settings",
    )


def joined(
    rows: pa.Table, source: Embedding, *, replace: bool
) -> tuple[pa.Table, NDArray[np.int64] | range]:
    """What is known of the rows of the larger index, and where in it the further ones go.

    Args:
        rows: of the index.
        source: what is added; rows without names go on where the index ends.
        replace: whether a row goes in the place of the one that has its id.

    Returns:
        The table, and (rows of `source`,) numbers of its rows.

    Raises:
        UserError: if ids are of another type, or there already and not to be replaced.
    """
    if source.counted:
        numbers = pa.array(np.arange(len(rows), len(rows) + source.rows))
        source = with_other(source, table=source.table.set_column(0, ID, numbers))
    kinds = [table.schema.field(ID).type for table in (source.table, rows)]
    if kinds[0] != kinds[1]:
        raise UserError(f"{source.name}: ids of type {kinds[0]}, and the index has {kinds[1]}")
    table = pa.concat_tables([rows, source.table], promote_options="permissive")
    found = compute.index_in(source.table.column(ID), value_set=rows.column(ID).combine_chunks())
    places = found.fill_null(-1).to_numpy().astype(np.int64)
    there = places >= 0
    if not there.any():
        return table, range(len(rows), len(table))
    if source.counted or not replace:
        first = source.table.column(ID)[int(np.argmax(there))].as_py()
        way_out = "give ids=" if source.counted else "replace=true puts them in place of the old"
        raise UserError(
            f"{source.name}: {int(there.sum())} of its {len(there)} ids are in the index already, "
            f"such as {first!r}; {way_out}, or leave these rows out"
        )
    places[~there] = len(rows) + np.arange(int((~there).sum()))
    order = np.arange(len(rows) + int((~there).sum()))
    order[places] = len(rows) + np.arange(len(there))
    return table.take(pa.array(order)), places
