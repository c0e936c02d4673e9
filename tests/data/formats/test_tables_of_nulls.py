"""Tables whose vectors are missing in other ways than as a null of a list."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from bidnn.data.vectors import read_vectors
from bidnn.errors import UserError
from tests.data.formats.tables import ROWS, assert_same, opened, table_of

HALF = ROWS // 2
WRITERS = {
    "parquet": parquet.write_table,
    "arrow": lambda table, path: feather.write_feather(
        table, str(path), compression="uncompressed"
    ),
}


def parts(folder, rows, other, at, form="parquet"):
    """Two parts of a table, in one of which the column `second` is another one."""
    folder.mkdir()
    for number in range(2):
        part = table_of(rows).slice(number * HALF, HALF)
        if number == at:
            part = part.set_column(3, "second", other)
        WRITERS[form](part, folder / f"part-{number}.{form}")
    return folder


NULLS = {
    "null": pa.nulls(HALF),
    "lists of nulls": pa.array([[None] * 5, None] * (HALF // 2)),
    "large lists of nulls": pa.array([[None] * 5] * HALF, pa.large_list(pa.null())),
    "fixed lists of nulls": pa.array([[None] * 5] * HALF, pa.list_(pa.null(), 5)),
}


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("kind", NULLS)
def test_a_part_without_one_vector_has_a_column_of_type_null(rows, tmp_path, kind, form, at):
    found = opened(parts(tmp_path / "parts", rows, NULLS[kind], at, form))
    own, rest = slice(at * HALF, (at + 1) * HALF), slice((1 - at) * HALF, (2 - at) * HALF)
    assert not found.present[own, 1].any()
    np.testing.assert_array_equal(found.present[:, 0], rows.present[:, 0])
    np.testing.assert_array_equal(found.present[rest, 1], rows.present[rest, 1])
    for values, theirs in zip(found.take(rest), rows.take(rest), strict=True):
        np.testing.assert_array_equal(values, theirs)


@pytest.mark.parametrize("form", WRITERS)
def test_a_column_of_type_null_is_as_wide_as_the_model_has_it(rows, tmp_path, form):
    path = tmp_path / "new"
    WRITERS[form](table_of(rows).set_column(3, "second", pa.nulls(ROWS)), path)
    for cache in (True, True, False):
        found = opened(path, (3, 7), cache=cache)
        assert (found.mod1size, found.mod2size) == (3, 7)
        assert not found.present[:, 1].any()
        np.testing.assert_array_equal(found.present[:, 0], rows.present[:, 0])
    with pytest.raises(UserError, match=r"new: has not one vector of second, and to learn from"):
        opened(path)


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize(
    ("other", "words"),
    [
        (pa.array(["a"] * HALF), "text, not vectors"),
        (pa.array([1.0] * HALF), "of type double, not vectors"),
        (pa.array([["a"]] * HALF), r"of type list<.*string>, not vectors"),
    ],
)
def test_a_part_with_a_column_of_another_type_is_named(rows, tmp_path, form, other, words):
    for at in (0, 1):
        folder = parts(tmp_path / f"other{at}", rows, other, at, form)
        with pytest.raises(UserError, match=rf"part-{at}\.{form}, column second: {words}"):
            opened(folder)
        with pytest.raises(UserError, match=rf"part-{at}\.{form}, column second: {words}"):
            read_vectors(parts(tmp_path / f"v{at}", complete(rows), other, at, form), "second")


def complete(rows):
    """The rows, with a second modality in all of them."""
    rows.second[np.isnan(rows.second)] = 1
    return rows


def test_rows_of_nan_that_pandas_wrote_as_nulls_are_missing(rows, tmp_path):
    frame = pd.DataFrame({"id": rows.ids, "label": rows.labels.astype(int)})
    frame["first"], frame["second"] = list(rows.first), list(rows.second)
    frame.to_parquet(tmp_path / "t.parquet")
    written = parquet.read_table(tmp_path / "t.parquet")
    assert written["first"].null_count == 0
    assert written["first"].to_pylist()[1] == [None] * 3
    assert_same(opened(tmp_path / "t.parquet"), rows)
    feather.write_feather(written, str(tmp_path / "t.arrow"), compression="uncompressed")
    assert_same(opened(tmp_path / "t.arrow"), rows)


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float16()), pa.list_(pa.float32(), 2), pa.large_list(pa.int64())]
)
def test_only_vectors_of_nulls_alone_are_missing(tmp_path, kind):
    lists = [[1, 2], None, [None, None], [3, 4], [5, None]]
    path = tmp_path / "t.parquet"
    parquet.write_table(pa.table({"first": pa.array(lists[:4], kind)}), path)
    found = opened(path, (2, 1))
    assert found.present[:, 0].tolist() == [True, False, False, True]
    assert found.take(slice(None))[0].tolist() == [[1, 2], [0, 0], [0, 0], [3, 4]]
    parquet.write_table(pa.table({"first": pa.array(lists, kind)}), path)
    with pytest.raises(UserError, match=r"row 4 counted from 0: a null inside .*, beside numbers"):
        opened(path, (2, 1))
