"""Tables for tests, and what they are read as."""

import json

import numpy as np
import pyarrow as pa

from bidnn.data.sources import TableSource

ROWS = 40


def vectors(values, kind):
    lists = [None if np.isnan(row).any() else row.tolist() for row in values]
    return pa.array(lists, kind)


def table_of(store, **more):
    first, second = (
        vectors(values, pa.list_(pa.float32(), size))
        for values, size in ((store.first, 3), (store.second, 5))
    )
    given = {"id": pa.array(store.ids), "label": pa.array(store.labels.astype(int))}
    return pa.table({**given, "first": first, "second": second, **more})


def opened(path, sizes=None, **settings):
    return TableSource(path=str(path), **settings).open(sizes)


def assert_same(found, store):
    for own, theirs in zip(found.take(slice(None)), store.take(slice(None)), strict=True):
        np.testing.assert_array_equal(own, theirs)
    np.testing.assert_array_equal(found.present, store.present)
    assert found.ids.tolist() == store.ids.tolist()
    assert found.ids.dtype.kind == store.ids.dtype.kind
    assert found.labels.tolist() == store.labels.tolist()


def hugging_face(table, folder):
    """As `datasets.Dataset.save_to_disk` lays it out: Arrow streams, and a list of them."""
    folder.mkdir()
    names = [f"data-{number:05d}-of-00002.arrow" for number in (0, 1)]
    for name, part in zip(names, (table.slice(0, 15), table.slice(15)), strict=True):
        with (
            pa.OSFile(str(folder / name), "wb") as file,
            pa.ipc.new_stream(file, part.schema) as to,
        ):
            to.write_table(part, max_chunksize=6)
    state = {"_data_files": [{"filename": name} for name in names]}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text("{}")
