"""Rows in whatever Python's libraries hold them: the same arrays, and ids that stay with them."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from scipy import sparse

from bidnn.data.frames import as_rows, check_columns, contain, same_ids
from bidnn.errors import UserError

VALUES = np.array([[1.5, 2.0], [-3.0, 0.25], [7.0, 8.0]], np.float32)
GAPPY = VALUES.copy()
GAPPY[1] = np.nan
NAMES = ["b", "a", "ü"]
VECTORS = [[1.5, 2.0], None, [7.0, 8.0]]


def columns(values):
    return {"x": values[:, 0], "y": values[:, 1]}


@pytest.mark.parametrize(
    "given",
    [
        VALUES.tolist(),
        VALUES.astype(">f8"),
        VALUES.astype(np.float16),
        np.asfortranarray(VALUES)[:, :],
        np.repeat(VALUES, 2, axis=0)[::2],
        torch.tensor(VALUES, requires_grad=True),
        torch.tensor(VALUES).to(torch.bfloat16),
        torch.tensor(VALUES).to_sparse(),
        torch.tensor(VALUES, dtype=torch.float64).T.contiguous().T,
        pd.DataFrame(VALUES),
        pd.Series(list(VALUES)),
        pl.DataFrame(columns(VALUES)),
        pl.Series(VALUES.tolist()),
        pa.table(columns(VALUES)),
        pa.RecordBatch.from_pydict(columns(VALUES)),
        pa.array(VALUES.tolist()),
        pa.chunked_array([VALUES[:1].tolist(), VALUES[1:].tolist()]),
        pa.FixedSizeListArray.from_arrays(pa.array(VALUES.ravel()), 2),
    ],
)
def test_rows_are_the_same_in_every_container(given):
    found = as_rows(given, "first")
    np.testing.assert_array_equal(np.asarray(found.values, np.float32), VALUES)
    assert found.ids is None


@pytest.mark.parametrize(
    "given",
    [
        np.ma.masked_array(VALUES, mask=[[False] * 2, [True] * 2, [False] * 2]),
        pd.DataFrame(GAPPY),
        pd.DataFrame(GAPPY).astype("Float32"),
        pd.DataFrame({"v": VECTORS}),
        pd.Series([np.array([1.5, 2.0]), np.nan, (7.0, 8.0)]),
        pd.Series(list(GAPPY)),
        pl.DataFrame({"v": VECTORS}),
        pl.DataFrame({"v": VECTORS}, schema={"v": pl.Array(pl.Float32, 2)}),
        pl.DataFrame({"x": [1.5, None, 7.0], "y": [2.0, None, 8.0]}),
        pa.table({"v": VECTORS}),
    ],
)
def test_nulls_are_rows_of_nan(given):
    values = as_rows(given, "first").values
    np.testing.assert_array_equal(np.ma.filled(values, np.nan), GAPPY)


def test_sparse_matrices_stay_sparse():
    found = as_rows(sparse.coo_matrix(VALUES.astype(np.float64)), "first").values
    assert found.format == "csr"
    np.testing.assert_array_equal(found.toarray(), VALUES)


@pytest.mark.parametrize(
    "given",
    [
        pd.DataFrame(VALUES, index=NAMES),
        pd.Series(list(VALUES), index=NAMES),
        pd.DataFrame({"id": NAMES, **columns(VALUES)}),
        pl.DataFrame({"id": NAMES, "v": VALUES.tolist()}),
        pa.table({"v": VALUES.tolist(), "id": NAMES}),
    ],
)
def test_an_index_or_a_column_id_names_the_rows(given):
    found = as_rows(given, "first")
    assert found.ids.tolist() == NAMES
    np.testing.assert_array_equal(found.values, VALUES)


def test_an_index_that_pandas_made_names_nothing_and_a_cut_of_it_does():
    frame = pd.DataFrame(VALUES)
    assert as_rows(frame, "first").ids is None
    assert as_rows(frame[1:], "first").ids.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (pd.DataFrame({"title": NAMES, "x": [1, 2, 3]}), "first: column title of type .*string; a"),
        (pl.DataFrame({"v": VECTORS, "x": [1, 2, 3]}), "first: column v of type .*list"),
        (pd.DataFrame(index=NAMES), "first: no column; a frame has numbers"),
        (
            pd.DataFrame({"v": [[1.0], [1.0, 2.0]]}),
            "column v, row 1, counted from 0: a vector of 2",
        ),
        (
            pl.DataFrame({"v": [[1.0, 2.0], [None, 2.0]]}),
            "column v, row 1, counted from 0: a null inside",
        ),
    ],
)
def test_a_column_that_is_no_feature_is_named(given, match):
    with pytest.raises(UserError, match=match):
        as_rows(given, "first")


def test_modalities_whose_ids_differ_are_refused_with_the_way_to_join_them():
    first, second = (
        pd.DataFrame(VALUES, index=index) for index in (["a", "b", "c"], ["a", "c", "d"])
    )
    with pytest.raises(
        UserError, match=r"row 1, counted from 0, is 'b' in one and 'c' in the other"
    ):
        same_ids(as_rows(first, "first"), as_rows(second, "second"))
    joined = as_rows(second.reindex(first.index), "second")
    assert same_ids(as_rows(first, "first"), joined).tolist() == ["a", "b", "c"]
    assert np.isnan(joined.values).all(axis=1).tolist() == [False, True, False]
    assert same_ids(None, as_rows(VALUES, "second")) is None


@pytest.mark.parametrize("names", [["a", "c", "d"], ["c", "d"], ["e", "c", "d", "a"]])
def test_frames_that_share_some_ids_are_refused_with_the_way_to_keep_all(names):
    first = pd.DataFrame(VALUES, index=["a", "b", "c"])
    second = pd.DataFrame(np.resize(VALUES, (len(names), 2)), index=names)
    with pytest.raises(UserError, match=r"; bring both into one order with all ids, .*") as caught:
        same_ids(as_rows(first, "first"), as_rows(second, "second"))
    count = f"3 rows and {len(names)}, of which {len({'a', 'c'}.intersection(names))} have ids"
    assert (count in str(caught.value)) == (len(names) != 3)
    assert "first.reindex(both) and second.reindex(both)" in str(caught.value)
    both = first.index.union(second.index)
    joined = [as_rows(first.reindex(both), "first"), as_rows(second.reindex(both), "second")]
    assert same_ids(*joined).tolist() == sorted({"a", "b", "c", *names})
    there = [~np.isnan(rows.values).all(axis=1) for rows in joined]
    assert [int(found.sum()) for found in there] == [3, len(names)]


def test_frames_of_which_one_lacks_rows_or_that_share_none_are_told_so():
    first = pd.DataFrame(VALUES, index=["a", "b", "c"])
    part = as_rows(first.loc[["c", "a"]], "second")
    words = (
        r"3 rows and 2, of which 2 have ids that are in both; .* by second.reindex\(first.index\)"
    )
    with pytest.raises(UserError, match=words):
        same_ids(as_rows(first, "first"), part)
    with pytest.raises(UserError, match="one order with all ids"):
        same_ids(part, as_rows(first, "second"))
    apart = as_rows(first.set_axis(["x", "y", "z"]).loc[["x"]], "second")
    assert same_ids(as_rows(first, "first"), apart).tolist() == ["a", "b", "c"]


def test_columns_of_other_names_or_in_another_order_are_refused():
    rows = as_rows(pl.DataFrame(columns(VALUES)), "first")
    check_columns(rows, ("x", "y"), "first")
    check_columns(rows, None, "first")
    with pytest.raises(UserError, match="column 0, counted from 0, is named x, and was named y in"):
        check_columns(rows, ("y", "x"), "first")
    with pytest.raises(UserError, match="column 2, counted from 0, is not there, and was named z"):
        check_columns(rows, ("x", "y", "z"), "first")


def test_what_is_made_of_rows_comes_in_their_container_with_their_ids():
    made = VALUES * 2
    frame = contain(made, [as_rows(pd.DataFrame(VALUES, index=NAMES), "f")], ["p", "q"], "v")
    pd.testing.assert_frame_equal(frame, pd.DataFrame(made, columns=["p", "q"], index=NAMES))
    given = as_rows(pl.DataFrame({"id": [3, 1, 2], **columns(VALUES)}), "f")
    frame = contain(made, [None, given], ["p", "q"], "v")
    assert frame.columns == ["id", "p", "q"]
    assert frame["id"].to_list() == [3, 1, 2]
    np.testing.assert_array_equal(frame.drop("id").to_numpy(), made)
    table = contain(made, [given], ["p", "q"], "v", "pyarrow")
    assert table.schema.field("v").type == pa.list_(pa.float32(), 2)
    assert table.to_pydict() == {"id": [3, 1, 2], "v": made.tolist()}
    assert contain(made, [as_rows(VALUES, "f")], ["p", "q"], "v") is made
    frame = contain(made, [as_rows(VALUES, "f")], ["p", "q"], "v", "pandas")
    pd.testing.assert_frame_equal(frame, pd.DataFrame(made, columns=["p", "q"]))
