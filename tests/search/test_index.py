"""Finding the nearest rows: against all similarities written down, in memory and in a folder."""

import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet

from bidnn.errors import UserError
from bidnn.search import Index
from bidnn.search import nearest as exact
from bidnn.search.index import spread
from bidnn.search.kept import META
from bidnn.search.presence import found_by_kind

GENERATOR = np.random.default_rng(0)
ROWS = GENERATOR.normal(size=(300, 6)).astype(np.float32)
NAMES = np.array([f"r{n}" for n in range(300)])


def by_hand(queries, rows, k):
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (queries, rows)]
    similarities = unit[0].astype(np.float64) @ unit[1].T.astype(np.float64)
    order = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(similarities, order, axis=1)


@pytest.mark.parametrize("block", [6 * 7, 2**24])
@pytest.mark.parametrize("k", [1, 5, 300])
def test_the_nearest_are_those_of_all_similarities(monkeypatch, block, k):
    monkeypatch.setattr(exact, "BLOCK_VALUES", block)
    monkeypatch.setattr(exact, "QUERIES", 3)
    queries = GENERATOR.normal(size=(8, 6)).astype(np.float32)
    places, similarities = by_hand(queries, ROWS, k)
    hits = Index.build(ROWS).search(queries, k)
    np.testing.assert_array_equal(hits.places, places)
    np.testing.assert_allclose(hits.similarities, similarities, atol=1e-6)
    assert hits.ids == places.tolist()


def test_of_equal_rows_the_first_comes_first_and_no_more_are_given_than_there_are():
    rows = np.array([[0, 1], [2, 0], [1, 0], [4, 0], [0, 0]], np.float32)
    hits = Index.build(rows).search(np.array([1.0, 0.0]), 9)
    assert hits.ids[0][:3] == [1, 2, 3]
    assert hits.similarities.tolist() == [[1.0, 1.0, 1.0, 0.0, 0.0]]


def test_vectors_of_zeros_find_nothing(caplog, tmp_path):
    rows = ROWS[:5].copy()
    rows[2] = 0
    index = Index.build(rows, ids=NAMES[:5])
    for refused in (lambda: index.search(rows[2:3]), lambda: index.like("r2")):
        with pytest.raises(
            UserError, match="the query's vector is zeros, as of a row with neither"
        ):
            refused()
    hits = index.search(rows, 2)
    assert [len(found) for found in hits.ids] == [2, 2, 0, 2, 2]
    np.testing.assert_array_equal(hits.similarities[2], [-1, -1])
    assert hits.ids[:2] == index.search(rows[:2], 2).ids
    assert "of 5 queries 1 find nothing" in caplog.text
    assert hits.table()["query"].to_pylist() == [0, 0, 1, 1, 3, 3, 4, 4]
    hits.write(tmp_path / "h.run")
    assert len((tmp_path / "h.run").read_text().splitlines()) == 8
    assert [len(found) for found in index.like(["r2", "r0"], 2).ids] == [0, 2]


def test_rows_find_others_than_themselves():
    index = Index.build(ROWS, ids=NAMES)
    places, _ = by_hand(ROWS, ROWS, 4)
    hits = index.like(["r7", "r0"], 3)
    assert hits.ids == NAMES[places[[7, 0], 1:]].tolist()
    assert hits.table()["query"].to_pylist() == ["r7"] * 3 + ["r0"] * 3
    assert index.search(ROWS, 3, without_self=True).ids == NAMES[places[:, 1:]].tolist()
    few = Index.build(ROWS[:3], ids=NAMES[:3]).like("r1", 10)
    assert sorted(few.ids[0]) == ["r0", "r2"]
    with pytest.raises(UserError, match="id=r300: no row of the index is called so"):
        index.like("r300")
    assert Index.build(ROWS).like("5", 1).ids == [[places[5, 1]]]  # a command line knows no types


def table_file(path, rows, names, **more):
    flat = pa.array(rows.ravel())
    vectors = pa.FixedSizeListArray.from_arrays(flat, rows.shape[1])
    table = pa.table({"id": names, "embedding": vectors, **more})
    parquet.write_table(table.replace_schema_metadata({"bidnn.rep": "6"}), path, row_group_size=64)
    return path


def test_an_index_in_a_folder_keeps_what_is_known_of_its_rows(tmp_path):
    titles = [f"film {n}" for n in range(300)]
    file = table_file(tmp_path / "e.parquet", ROWS, NAMES, title=titles)
    built = Index.build(file, folder=tmp_path / "e.index")
    found = Index.open(tmp_path / "e.index")
    assert isinstance(found.vectors, np.memmap)
    assert found.about == {"bidnn.rep": "6"}
    hits = found.search(ROWS[:2], 3).table()
    assert hits.schema.names == ["query", "rank", "id", "similarity", "title"]
    assert hits["title"].to_pylist() == [f"film {i[1:]}" for i in hits["id"].to_pylist()]
    np.testing.assert_array_equal(built.vectors, Index.build(ROWS).vectors)
    with pytest.raises(UserError, match="an index is there already"):
        Index.build(file, folder=tmp_path / "e.index")
    with pytest.raises(UserError, match="no index; make one with bidnn index"):
        Index.open(tmp_path)


@pytest.mark.parametrize("in_folder", [True, False])
@pytest.mark.parametrize("exact_to", [1000, 100])
def test_added_rows_are_found_as_if_they_had_been_there(tmp_path, in_folder, exact_to):
    folder = tmp_path / "index" if in_folder else None
    index = Index.build(ROWS[:200], ids=NAMES[:200], folder=folder, exact_to=exact_to)
    larger = index.add(ROWS[200:], ids=NAMES[200:], folder=folder)
    assert (len(larger), len(index)) == (300, 200)
    np.testing.assert_array_equal(larger.vectors, Index.build(ROWS).vectors)
    assert larger.ids.tolist() == NAMES.tolist()
    assert (larger.lists is None) == (exact_to == 1000)
    assert larger.search(ROWS[250:251], 1).ids == [["r250"]]
    if in_folder:
        names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        kinds = ["index.json", "lists-1.faiss", "rows-1.parquet", "vectors-1.npy"]
        assert names == [name for name in kinds if larger.lists is not None or "lists" not in name]
    there = "1 of its 2 ids are in the index already, such as 'r3'; replace=true puts"
    with pytest.raises(UserError, match=there):
        larger.add(ROWS[2:4], ids=["new", "r3"], folder=folder)
    with pytest.raises(UserError, match="vectors of 5 values, and the index has 6"):
        larger.add(ROWS[:, :5], folder=folder)
    with pytest.raises(UserError, match="ids of type int64, and the index has string"):
        larger.add(ROWS[:1], ids=[4], folder=folder)


def test_rows_without_names_go_on_counting():
    larger = Index.build(ROWS[:3]).add(ROWS[3:5])
    assert larger.ids.tolist() == [0, 1, 2, 3, 4]
    named = Index.build(ROWS[:3], ids=[0, 1, 4])
    with pytest.raises(UserError, match="1 of its 2 ids are in the index already, such as 4; give"):
        named.add(ROWS[3:5], replace=True)


@pytest.mark.parametrize("in_folder", [True, False])
@pytest.mark.parametrize("exact_to", [1000, 100])
def test_added_rows_take_the_place_of_those_that_have_their_ids(tmp_path, in_folder, exact_to):
    folder = tmp_path / "index" if in_folder else None
    titles = [f"film {n}" for n in range(300)]
    file = table_file(tmp_path / "e.parquet", ROWS, NAMES, title=titles)
    index = Index.build(file, folder=folder, exact_to=exact_to)
    changed = -np.concatenate([ROWS[[250, 7]], ROWS[:1] + ROWS[1:2]])
    more = table_file(tmp_path / "m.parquet", changed, ["r250", "r7", "new"], title=["a", "b", "c"])
    larger = index.add(more, replace=True, folder=folder)
    assert larger.ids.tolist() == [*NAMES, "new"]
    expected = np.concatenate([ROWS, changed[2:]])
    expected[[250, 7]] = changed[:2]
    np.testing.assert_array_equal(larger.vectors, Index.build(expected).vectors)
    known = dict(zip(larger.ids, larger.rows["title"].to_pylist(), strict=True))
    titles[250], titles[7] = "a", "b"
    assert list(known.values()) == [*titles, "c"]
    assert larger.search(changed, 1).ids == [["r250"], ["r7"], ["new"]]
    if exact_to == 100:
        assert len(larger.lists) == 301
    again = larger.add(ROWS[5:7], ids=["r7", "r8"], replace=True, folder=folder)
    assert len(again) == 301
    assert again.search(ROWS[5:7], 2, having=None).ids == [["r5", "r7"], ["r6", "r8"]]
    assert (folder is None) or Index.open(folder).ids.tolist() == larger.ids.tolist()


@pytest.mark.parametrize("name", ["none.parquet", "none.npz", None])
def test_no_rows_are_added_without_complaint_and_make_no_index(tmp_path, name):
    index = Index.build(ROWS, ids=NAMES, folder=tmp_path / "i")
    none = ROWS[:0]
    if name == "none.parquet":
        none = table_file(
            tmp_path / name, none, pa.array([], pa.string()), title=pa.array([], "i8")
        )
    elif name == "none.npz":
        np.savez(tmp_path / name, embedding=none, id=NAMES[:0], present=np.zeros((0, 2), bool))
        none = tmp_path / name
    assert index.add(none, folder=tmp_path / "i").ids.tolist() == NAMES.tolist()
    assert Index.open(tmp_path / "i").ids.tolist() == NAMES.tolist()
    with pytest.raises(UserError, match=r"(none.parquet|none.npz|embedding): 0 vectors of 6 "):
        Index.build(none)


def test_an_index_is_made_anew_only_if_asked_and_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "i"
    Index.build(ROWS[:9], ids=NAMES[:9], folder=folder).add(ROWS[9:10], ids=["r9"], folder=folder)
    broken = ROWS[:5].copy()
    broken[3, 2] = np.nan
    with pytest.raises(UserError, match="NaN"):
        Index.build(broken, folder=folder, anew=True)
    assert len(Index.open(folder)) == 10
    anew = Index.build(ROWS[:5], ids=NAMES[:5], folder=folder, anew=True)
    assert anew.ids.tolist() == Index.open(folder).ids.tolist() == NAMES[:5].tolist()
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    assert names == ["index.json", "rows-2.parquet", "vectors-2.npy"]


def test_which_modalities_rows_have_can_be_said_of_arrays():
    present = np.arange(600).reshape(300, 2) % 5 != 0
    index = Index.build(ROWS[:200], present=present[:200])
    larger = index.add(ROWS[200:], present=present[200:].astype(int))
    for having, mask in (("first", present[:, 0]), ("both", present.all(axis=1))):
        places, _ = by_hand(ROWS[:5], ROWS[mask], 3)
        found = larger.search(ROWS[:5], 3, having=having).ids
        assert found == np.flatnonzero(mask)[places].tolist()
    assert set(found_by_kind(larger)) == {"pool", "both", "first only", "second only"}
    with pytest.raises(UserError, match=r"present has shape \(300,\), not \(300, 2\)"):
        Index.build(ROWS, present=present[:, 0])


def test_lists_find_nearly_all_and_say_how_many(tmp_path):
    rows = GENERATOR.normal(size=(5000, 16)).astype(np.float32)
    index = Index.build(rows, folder=tmp_path / "i", exact_to=1000)
    assert index.lists is not None
    places, _ = by_hand(rows[spread(5000)], rows, 11)
    others = index.like(spread(5000), 10).places
    shares = [np.isin(*pair).mean() for pair in zip(places[:, 1:], others, strict=True)]
    assert index.recall == pytest.approx(np.mean(shares), abs=1e-3)
    assert 0.5 < index.recall < 1.0
    found = index.search(rows[::50], 10)
    assert json.loads((tmp_path / "i" / META).read_text())["recall"] == index.recall
    np.testing.assert_allclose(found.similarities[:, 0], 1.0, atol=1e-6)  # compared exactly


def test_rows_with_one_modality_and_with_two_tell_what_they_find_of_each_other():
    rows = np.repeat(np.eye(3, dtype=np.float32), 20, axis=0)
    first = np.repeat([True, True, False], 20)
    second = np.repeat([True, False, True], 20)
    table = pa.table(
        {"id": range(60), "embedding": list(rows), "present_first": first, "present_second": second}
    )
    index = Index.build(rows)
    assert found_by_kind(index) == {}
    index = Index(index.vectors, table.drop_columns("embedding"))
    shares = found_by_kind(index)
    assert shares["pool"] == {name: pytest.approx(1 / 3) for name in shares if name != "pool"}
    assert shares["first only"] == {"both": 0.0, "first only": 1.0, "second only": 0.0}
    index.vectors[20:40] = 0
    assert set(found_by_kind(index)) == {"pool", "both", "second only"}


@pytest.mark.parametrize("container", [pd.DataFrame, pl.DataFrame])
def test_frames_of_transform_are_indexed_by_their_ids(container):
    frame = container({"id": NAMES, **{f"bidnn{n}": ROWS[:, n] for n in range(6)}})
    assert Index.build(frame).search(ROWS[9:10], 1).ids == [["r9"]]


def test_hits_are_written_as_parquet_json_lines_and_trec_runs(tmp_path):
    hits = Index.build(ROWS, ids=NAMES).like(["r1", "r2"], 2)
    for name in ("h.parquet", "h.jsonl", "h.run"):
        hits.write(tmp_path / name)
    table = hits.table()
    assert parquet.read_table(tmp_path / "h.parquet").equals(table)
    lines = [json.loads(line) for line in (tmp_path / "h.jsonl").read_text().splitlines()]
    assert lines == table.to_pylist()
    run = [line.split() for line in (tmp_path / "h.run").read_text().splitlines()]
    assert [(q, d, r) for q, _, d, r, _, _ in run] == [
        (row["query"], row["id"], str(row["rank"])) for row in lines
    ]
    with pytest.raises(UserError, match=r"h.csv: hits are written as .parquet, .jsonl, "):
        hits.write(tmp_path / "h.csv")


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        (np.zeros((0, 3)), "0 vectors of 3 values"),
        (np.array([[1.0, np.nan]]), "NaN, or infinite"),
        (np.zeros(3), "a matrix of numbers"),
    ],
)
def test_what_is_no_embedding_is_refused(rows, match):
    with pytest.raises(UserError, match=match):
        Index.build(rows)


def test_queries_that_do_not_fit_are_refused(tmp_path):
    index = Index.build(ROWS)
    with pytest.raises(UserError, match="queries of 5 values, and the index has 6"):
        index.search(ROWS[:, :5])
    with pytest.raises(UserError, match="k=0: must be at least 1"):
        index.search(ROWS, 0)
    file = table_file(tmp_path / "e.parquet", ROWS[:2], ["a", "a"])
    with pytest.raises(UserError, match="have the same id 'a'"):
        Index.build(file)


class Doubling:
    def transform(self, first=None, second=None):
        return 2 * (first if second is None else second)


def test_new_rows_are_searched_through_a_model(tmp_path):
    index = Index.build(ROWS, ids=NAMES, folder=tmp_path / "i", model=Doubling())
    assert index.search(first=ROWS[7:8], k=1).ids == [["r7"]]
    frame = pd.DataFrame(ROWS[8:9], index=["asked"])
    hits = index.add(ROWS[:1] + 9, ids=["new"], folder=tmp_path / "i").search(second=frame, k=1)
    assert hits.table().select(["query", "id"]).to_pylist() == [{"query": "asked", "id": "r8"}]
    with pytest.raises(UserError, match="rows are embedded by a model"):
        Index.open(tmp_path / "i").search(first=ROWS[:1])


@pytest.mark.parametrize("exact_to", [1000, 100])
def test_only_rows_that_have_a_modality_are_found(tmp_path, exact_to):
    first = np.arange(300) % 3 != 0
    second = np.arange(300) % 4 != 0
    more = {"present_first": first, "present_second": second}
    file = table_file(tmp_path / "e.parquet", ROWS, NAMES, **more)
    index = Index.build(file, exact_to=exact_to)
    for having, mask in (("first", first), ("second", second), ("both", first & second)):
        places, _ = by_hand(ROWS[:5], ROWS[mask], 2)
        expected = NAMES[mask][places]
        found = index.search(ROWS[:5], 2, having=having).ids
        shares = [np.isin(*pair).mean() for pair in zip(expected, found, strict=True)]
        assert np.mean(shares) == 1.0 if exact_to == 1000 else np.mean(shares) > 0.6
        assert all(mask[int(name[1:])] for row in found for name in row)
    alone = index.like("r0", 299, having="second").ids[0]
    assert "r0" not in alone
    assert exact_to < 300 or sorted(alone) == sorted(NAMES[second])
    with pytest.raises(UserError, match="having=image: choose one of first, second, both"):
        index.search(ROWS[:1], having="image")
    with pytest.raises(UserError, match="does not say which modalities its rows have"):
        Index.build(ROWS).search(ROWS[:1], having="first")
