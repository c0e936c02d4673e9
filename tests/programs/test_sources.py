"""The same rows by every source: the same model, and the same bytes of what it embeds."""

from zipfile import ZipFile

import h5py
import hdf5storage
import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet

from tests.programs.running import TINY, refused, succeed

IDS = np.array([f"v{number:03d}" for number in range(60)])


def save_shards(folder, first, second):
    """As clip-retrieval does, in eleven parts: the tenth comes before the eleventh, not second."""
    for name in ("img_emb", "text_emb", "metadata"):
        (folder / "clip" / name).mkdir(parents=True)
    for number, rows in enumerate(np.array_split(np.arange(60), 11)):
        np.save(folder / f"clip/img_emb/img_emb_{number}.npy", first[rows])
        np.save(folder / f"clip/text_emb/text_emb_{number}.npy", second[rows])
        table = pd.DataFrame({"image_path": IDS[rows], "caption": "a caption"})
        table.to_parquet(folder / f"clip/metadata/metadata_{number}.parquet")


SHARDS = ("data.first='clip/img_emb/*.npy'", "data.second='clip/text_emb/*.npy'")
IDS_OF_SHARDS = ("data.ids='clip/metadata/*.parquet'", "data.id=image_path")
SOURCES = {
    "npz": ("data=npz", "data.path=rows.npz"),
    "shards": ("data=npy", *SHARDS, *IDS_OF_SHARDS),
    "embeddings": ("data=embeddings", "data.path=clip"),
    "hdf5": ("data=hdf5", "data.path=rows.h5"),
    "chunks": ("data=hdf5", "data.path=chunks.h5", "data.first=text", "data.second=image"),
    "groups": ("data=hdf5", "data.path=groups.h5"),
    "mat": ("data=mat", "data.path=rows.mat", "data.id=name"),
    "zip": ("data=npz", "data.path=zip://rows.npz::rows.zip"),
}


def save_hdf5(folder, first, second):
    """In one piece, in compressed chunks, as a group a row, and as MATLAB's version 7.3."""
    for path, names, how in (
        ("rows.h5", ("first", "second"), {}),
        ("chunks.h5", ("text", "image"), {"compression": "gzip", "chunks": (16, 3)}),
    ):
        with h5py.File(folder / path, "w") as file:
            for name, values in zip(names, (first, second), strict=True):
                file.create_dataset(name, data=values, **how)
            file["id"] = IDS.tolist()
    with h5py.File(folder / "groups.h5", "w") as file:
        for number, name in enumerate(IDS):
            row = file.create_group(name)
            for part, values in (("first", first[number]), ("second", second[number])):
                if not np.isnan(values).any():
                    row[part] = values
    parts = {"first": first, "second": second, "name": IDS.astype(object)}
    hdf5storage.savemat(str(folder / "rows.mat"), parts, format="7.3")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The same rows in every format, and a model that was trained on each."""
    folder = tmp_path_factory.mktemp("sources")
    generator = np.random.default_rng(0)
    first, second = (generator.uniform(-0.9, 0.9, (60, size)).astype("f4") for size in (4, 5))
    first[:9], second[9:20] = np.nan, np.nan
    np.savez(folder / "rows.npz", first=first, second=second, id=IDS)
    save_shards(folder, first, second)
    save_hdf5(folder, first, second)
    with ZipFile(folder / "rows.zip", "w") as archive:
        archive.write(folder / "rows.npz", "rows.npz")
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    for name, source in SOURCES.items():
        rest = (*source, *TINY, f"hydra.run.dir={name}", "output.path=${run_dir}/out.parquet")
        succeed("scripts/train.py", *rest, cwd=folder)
    yield folder
    monkeypatch.undo()


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "npz"])
def test_a_source_trains_and_embeds_as_the_npz_of_the_same_rows_to_the_byte(place, name):
    expected = (place / "npz" / "out.parquet").read_bytes()
    assert (place / name / "out.parquet").read_bytes() == expected
    out = f"{name}.parquet"
    rest = (*SOURCES[name], f"output.path={out}", f"hydra.run.dir={name}_embedded")
    succeed("scripts/embed.py", f"checkpoint={name}", *rest, cwd=place)
    assert (place / out).read_bytes() == expected
    there = ~np.isnan(np.load(place / "rows.npz")["first"][::-1, 0])
    known = pd.DataFrame({"key": IDS[::-1], "there": there})
    joined = known.merge(pd.read_parquet(place / out), left_on="key", right_on="id")
    assert len(joined) == 60
    assert (joined["there"] == joined["present_first"]).all()
    vectors = parquet.read_table(place / out)["embedding"].to_pylist()
    np.testing.assert_array_equal(np.stack(joined["embedding"].to_list())[::-1], vectors)


@pytest.mark.parametrize("name", ["shards", "embeddings"])
def test_a_shard_is_not_replaced_by_an_output(place, name):
    out = "output.path=clip/metadata/metadata_3.parquet"
    found = refused("scripts/convert.py", *SOURCES[name], out, cwd=place)
    assert "output.path=clip/metadata/metadata_3.parquet: is what is read" in found


def test_what_is_brought_is_brought_once_and_the_log_says_where(place):
    (path,) = (place / "cache" / "bidnn").glob("*/rows.npz")
    assert path.read_bytes() == (place / "rows.npz").read_bytes()
    log = (place / "zip" / "train.log").read_text()
    assert f"zip://rows.npz::rows.zip: brought to {path}" in log
    rest = (*SOURCES["zip"], "output.path=again.npz", "hydra.run.dir=again")
    found = succeed("scripts/embed.py", "checkpoint=zip", *rest, cwd=place)
    assert f"unchanged since it was brought to {path}" in found.out + found.err


def test_a_file_to_validate_on_is_brought_too(place):
    val = "data.val_path=zip://rows.npz::file://" + str(place / "rows.zip")
    rest = (*SOURCES["npz"], val, *TINY, "hydra.run.dir=validated")
    succeed("scripts/train.py", *rest, cwd=place)
    assert "rows.npz::file://" in (place / "validated" / "train.log").read_text()
    found = refused("scripts/train.py", "data=npz", "data.path=zip://x.npz::rows.zip", cwd=place)
    assert "zip://x.npz::rows.zip: no such file, or it cannot be reached" in found
