"""Many files embedded each into an output of its own: what is missing is made, and only that."""

import json
import os
import shutil

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from bidnn.data.sources import TableSource
from bidnn.errors import UserError
from bidnn.programs.processes import share_of_work
from bidnn.programs.shards import find_shards
from tests.programs.running import TINY, refused, run, start, succeed

SIZES = (30, 20, 25)


def shard(number, rows):
    generator = np.random.default_rng(number)
    return pa.table(
        {
            "id": [f"v{number}-{n}" for n in range(rows)],
            "first": list(generator.uniform(-0.9, 0.9, (rows, 4)).astype("f4")),
            "second": list(generator.uniform(-0.9, 0.9, (rows, 5)).astype("f4")),
            "title": [f"title {n}" for n in range(rows)],
        }
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two models of the same rows."""
    folder = tmp_path_factory.mktemp("models")
    for number, rows in enumerate(SIZES):
        (folder / "rows").mkdir(exist_ok=True)
        parquet.write_table(shard(number, rows), folder / "rows" / f"part-{number}.parquet")
    for seed in (0, 1):
        rest = ("data=table", "data.path=rows", *TINY, f"seed={seed}", "output.path=null")
        succeed("scripts/train.py", *rest, f"hydra.run.dir=run{seed}", cwd=folder)
    return folder


@pytest.fixture
def place(models, tmp_path):
    shutil.copytree(models, tmp_path / "place")
    return tmp_path / "place"


DAILY = ("data=table", "data.path=rows", "output.path=out/%s.parquet", "output.columns=[title]")


def daily(place, *more, model="run0", how=succeed):
    return how("scripts/embed.py", f"checkpoint={model}", *DAILY, *more, cwd=place)


def states(place):
    found = sorted((place / "out").glob("*.parquet"))
    return {file.stem: (file.stat().st_ino, file.stat().st_mtime_ns) for file in found}


def manifest(place):
    return json.loads((place / "out" / "_manifest.json").read_text())


def changed(before, after):
    return {name for name in before | after if before.get(name) != after.get(name)}


def test_each_file_gets_an_output_of_its_own_as_if_embedded_alone(place):
    daily(place, "hydra.run.dir=daily")
    assert not list((place / "rows").glob("*.cache"))
    for number, rows in enumerate(SIZES):
        one = ("data=table", f"data.path=rows/part-{number}.parquet", "output.columns=[title]")
        rest = ("checkpoint=run0", *one, f"output.path=alone{number}.parquet")
        succeed("scripts/embed.py", *rest, cwd=place)
        alone = parquet.read_table(place / f"alone{number}.parquet")
        found = parquet.read_table(place / "out" / f"part-{number}.parquet")
        assert found.equals(alone)
        assert found.num_rows == rows
        assert found["id"].to_pylist() == [f"v{number}-{n}" for n in range(rows)]
    told = manifest(place)
    assert told["complete"] is True
    assert told["missing"] == []
    assert told["rows"] == sum(SIZES)
    assert told["model"]["rep"] == "8"
    assert len(told["model"]["weights"]) == 64
    file = place / "rows" / "part-1.parquet"
    assert told["shards"][1] == {
        "output": "part-1.parquet",
        "rows": 20,
        "inputs": [
            {
                "file": "rows/part-1.parquet",
                "size": file.stat().st_size,
                "mtime_ns": file.stat().st_mtime_ns,
            }
        ],
    }
    assert json.loads((place / "daily" / "run.json").read_text())["data"] is None
    whole = parquet.read_table(place / "out")
    assert whole.num_rows == sum(SIZES)


@pytest.fixture
def matrices(place):
    """The same rows as pairs of numbered matrices with a table of ids to each, in two layouts."""
    for folder in ("img_emb", "text_emb", "metadata"):
        (place / "clip" / folder).mkdir(parents=True)
    for number, rows in enumerate(SIZES):
        table, name = shard(number, rows), f"clip/{{}}_emb/{{}}_emb_{number}.npy".format
        for modality, column in (("img", "first"), ("text", "second")):
            np.save(place / name(modality, modality), np.stack(table[column].to_numpy()))
        metadata = table.select(["id", "title"]).rename_columns(["image_path", "title"])
        parquet.write_table(metadata, place / f"clip/metadata/metadata_{number}.parquet")
    return place


PAIRS = (
    *("data=npy", "data.first='clip/img_emb/*.npy'", "data.second='clip/text_emb/*.npy'"),
    *("data.ids='clip/metadata/*.parquet'", "data.id=image_path"),
)


@pytest.mark.parametrize("data", [PAIRS, ("data=embeddings", "data.path=clip")])
def test_each_pair_of_matrices_gets_an_output_of_its_own(matrices, data):
    place = matrices
    daily(place)
    rest = ("checkpoint=run0", *data, "output.path=pairs/%s.parquet", "output.columns=[title]")
    succeed("scripts/embed.py", *rest, cwd=place)
    for number, rows in enumerate(SIZES):
        expected = parquet.read_table(place / "out" / f"part-{number}.parquet")
        found = parquet.read_table(place / "pairs" / f"img_emb_{number}.parquet")
        assert found.num_rows == rows
        assert found.equals(expected)
    told = json.loads((place / "pairs" / "_manifest.json").read_text())
    assert [file["file"] for file in told["shards"][2]["inputs"]] == [
        *("clip/img_emb/img_emb_2.npy", "clip/text_emb/text_emb_2.npy"),
        "clip/metadata/metadata_2.parquet",
    ]
    before = {file.name: file.stat().st_ino for file in (place / "pairs").glob("*.parquet")}
    table = parquet.read_table(place / "clip/metadata/metadata_1.parquet")
    titles = pa.array(["new"] * len(table))
    parquet.write_table(
        table.set_column(1, "title", titles), place / "clip/metadata/metadata_1.parquet"
    )
    succeed("scripts/embed.py", *rest, cwd=place)
    after = {file.name: file.stat().st_ino for file in (place / "pairs").glob("*.parquet")}
    assert changed(before, after) == {"img_emb_1.parquet"}
    made = parquet.read_table(place / "pairs" / "img_emb_1.parquet")
    assert made["title"].to_pylist() == ["new"] * SIZES[1]


@pytest.mark.parametrize(
    ("more", "match"),
    [
        (("data.ids=ids.txt", "data.id=null"), "clip/img_emb/*.npy names 3 files, ids.txt 1"),
        (("data.second='clip/text_emb/*[02].npy'",), "number 1 missing between"),
        (("data.second='clip/text_emb/*[01].npy'",), "number 2 is missing, of which"),
        (("data.second=null",), "3 of 3 outputs"),
        (("data.first=null", "data.second=null"), "data.first is not given"),
    ],
)
def test_matrices_that_are_no_pairs_are_refused(matrices, more, match):
    (matrices / "ids.txt").write_text("a\nb\n")
    rest = ("checkpoint=run0", *PAIRS, "output.path=pairs/%s.parquet", *more)
    ended = run("scripts/embed.py", *rest, "output.columns=[nothing]", cwd=matrices)
    assert ended.status == 1
    assert match in ended.out + ended.err
    assert "Traceback" not in ended.out + ended.err


@pytest.fixture
def joined(models, tmp_path):
    """Two tables of shuffled rows: a fifth of each is in neither file of the other."""
    place = tmp_path / "joined"
    shutil.copytree(models, place)
    whole = pa.concat_tables([shard(number, rows) for number, rows in enumerate(SIZES)])
    order = np.random.default_rng(0).permutation(len(whole))
    for name, rows, column in (("text", order[:60], "first"), ("image", order[15:], "second")):
        (place / name).mkdir()
        known = np.random.default_rng(len(name)).permutation(rows)
        for number, part in enumerate(np.array_split(known, 3)):
            table = whole.select(["id", column, *["title"] * (column == "second")])
            parquet.write_table(table.take(pa.array(part)), place / name / f"part-{number}.parquet")
    return place


JOINED = ("data=table", "data.path=text", "data.second_path=image", "output.columns=[title]")


def join(place, *more, how=succeed):
    rest = ("checkpoint=run0", *JOINED, "output.path=out/%s.parquet", *more)
    return how("scripts/embed.py", *rest, cwd=place)


def test_of_two_joined_tables_each_id_is_in_one_output_as_if_embedded_together(joined):
    place = joined
    succeed("scripts/embed.py", "checkpoint=run0", *JOINED, "output.path=w.parquet", cwd=place)
    whole = parquet.read_table(place / "w.parquet")
    join(place, "share=[1,2]")
    assert manifest(place)["complete"] is False
    join(place, "share=[0,2]")
    names = [f"part-{number}{what}" for what in ("", "-only_second") for number in range(3)]
    assert set(states(place)) == set(names)
    found = [parquet.read_table(place / "out" / f"{name}.parquet") for name in names]
    assert pa.concat_tables(found).equals(whole)
    assert pa.concat_tables(found[:3])["present_first"].to_pylist() == [True] * 60
    assert pa.concat_tables(found[3:])["present_first"].to_pylist() == [False] * 15
    told = manifest(place)
    assert (told["complete"], told["rows"]) == (True, 75)
    assert [file["file"] for file in told["shards"][5]["inputs"]] == ["image/part-2.parquet"]
    for number in range(3):
        text = parquet.read_table(place / "text" / f"part-{number}.parquet")
        assert found[number]["id"].equals(text["id"])


def test_of_two_joined_tables_only_what_a_change_touches_is_made_again(joined):
    place = joined
    join(place)
    before = states(place)
    said = join(place)
    assert "6 files: 0 outputs to be made" in said.out + said.err
    assert states(place) == before
    table = parquet.read_table(place / "text" / "part-1.parquet")
    alone = parquet.read_table(place / "out" / "part-2-only_second.parquet")["id"][0]
    new = pa.table({"id": [alone.as_py()], "first": table["first"][:1]}).cast(table.schema)
    parquet.write_table(pa.concat_tables([table, new]), place / "text" / "part-1.parquet")
    join(place)  # the id has moved from one output to another; no id is in two
    after = states(place)
    assert changed(before, after) == {"part-1", "part-2-only_second"}
    ids = parquet.read_table(place / "out")["id"].to_pylist()
    assert len(ids) == len(set(ids)) == 75
    (place / "out" / "part-0.parquet").unlink()
    join(place)
    assert changed(after, states(place)) == {"part-0"}


def test_started_again_it_makes_what_is_missing_and_only_that(place):
    daily(place)
    first = states(place)
    said = daily(place)
    assert states(place) == first
    assert "3 files: 0 outputs to be made" in said.out + said.err
    (place / "out" / "part-1.parquet").unlink()
    daily(place)
    second = states(place)
    assert changed(first, second) == {"part-1"}
    parquet.write_table(shard(7, 11), place / "rows" / "part-10.parquet")
    parquet.write_table(shard(8, 40), place / "rows" / "part-0.parquet")
    damaged = place / "out" / "part-2.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-50])
    said = daily(place)
    assert changed(second, states(place)) == {"part-10", "part-0", "part-2"}
    assert "part-0.parquet (of a file that has changed)" in said.out + said.err
    assert "part-10.parquet (not there)" in said.out + said.err
    assert [entry["rows"] for entry in manifest(place)["shards"]] == [40, 20, 25, 11]


@pytest.mark.parametrize(
    ("more", "model", "reason"),
    [
        ((), "run1", "of another model"),
        (("output.kind=crossmodal",), "run0", "of another model, kind or norm"),
        (("output.l2_norm=true",), "run0", "of another model, kind or norm"),
        (("missing=duplicate",), "run0", "of another model"),
        (("output.columns=[]",), "run0", "of other settings"),
        (("output.fingerprint=true",), "run0", "of other settings"),
        (("data.missing_rate=0.5",), "run0", "of other settings"),
    ],
)
def test_what_is_of_another_model_or_other_settings_is_made_again(place, more, model, reason):
    daily(place)
    before = states(place)
    said = daily(place, *more, model=model)
    assert changed(before, states(place)) == {"part-0", "part-1", "part-2"}
    assert said.out.count(reason) + said.err.count(reason) == 3
    again = states(place)
    daily(place, *more, model=model)
    assert states(place) == again


def test_what_changes_no_output_makes_none_again(place):
    daily(place)
    before = states(place)
    shutil.copytree(place / "run0", place / "copied")
    daily(place, "data.batch_size=7", "seed=3", "data.path='rows/part-*.parquet'", model="copied")
    assert states(place) == before


def test_a_bad_file_does_not_hold_up_the_others(place):
    (place / "rows" / "part-1.parquet").write_bytes(b"PAR1 not a table PAR1")
    ended = daily(place, how=run)
    assert ended.status == 1
    assert "1 of 3 outputs could not be made, the first of rows/part-1.parquet" in ended.err
    assert set(states(place)) == {"part-0", "part-2"}
    assert manifest(place)["complete"] is False
    assert manifest(place)["missing"] == ["rows/part-1.parquet"]
    before = states(place)
    parquet.write_table(shard(1, 20), place / "rows" / "part-1.parquet")
    daily(place)
    assert changed(before, states(place)) == {"part-1"}
    assert manifest(place)["complete"] is True


def test_an_output_whose_file_is_gone_stays_and_is_named(place):
    daily(place)
    (place / "rows" / "part-1.parquet").unlink()
    said = daily(place)
    assert "1 file of none of the rows' files now, such as out/part-1" in said.out + said.err
    assert len(states(place)) == 3
    assert len(manifest(place)["shards"]) == 2


def together(place, monkeypatch, environments, *more):
    """Processes at the same time, each with its share of an environment."""
    started = []
    for number, environment in enumerate(environments):
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, str(value))
            own = [part.replace("NUMBER", str(number)) for part in more]
            rest = ("checkpoint=run0", *DAILY, *own)
            started.append(start("scripts/embed.py", *rest, cwd=place))
    said = ["".join(process.communicate(timeout=120)) for process in started]
    assert [process.returncode for process in started] == [0] * len(started), said
    return said


def test_processes_that_are_started_together_share_the_files(place, monkeypatch):
    ranks = [
        {"RANK": n, "LOCAL_RANK": n, "WORLD_SIZE": 2, "TORCHELASTIC_RUN_ID": "x"} for n in (0, 1)
    ]
    said = together(place, monkeypatch, ranks, "hydra.run.dir=daily")
    assert "process 0 of 2 with 2 of these: 2 outputs to be made" in said[0]
    assert said[1] == ""  # the first one has the log
    assert set(states(place)) == {"part-0", "part-1", "part-2"}
    assert manifest(place)["complete"] is True
    assert (place / "daily" / "run.json").is_file()
    before = states(place)
    daily(place)
    assert states(place) == before


def test_the_tasks_of_a_job_array_share_the_files(place, monkeypatch):
    tasks = [
        {f"SLURM_ARRAY_TASK_{name}": value for name, value in told.items()}
        for told in ({"ID": n, "MIN": 1, "MAX": 3, "COUNT": 3, "STEP": 1} for n in (1, 2, 3))
    ]
    said = together(place, monkeypatch, tasks)
    for number in range(3):
        assert f"process {number} of 3 with 1 of these: 1 output to be made" in said[number]
    assert manifest(place)["complete"] is True


def test_a_share_can_be_said_and_counts_more_than_the_surroundings(place, monkeypatch):
    told = {"ID": 1, "MIN": 0, "MAX": 7, "COUNT": 8, "STEP": 1}
    for name, value in told.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
    daily(place, "share=[1,2]")
    assert set(states(place)) == {"part-1"}
    assert manifest(place)["missing"] == ["rows/part-0.parquet", "rows/part-2.parquet"]
    daily(place, "share=[0,1]")
    assert set(states(place)) == {"part-0", "part-1", "part-2"}


@pytest.mark.parametrize(
    ("environment", "share"),
    [
        ({}, (0, 1)),
        ({"RANK": 3, "WORLD_SIZE": 8}, (3, 8)),
        ({"SLURM_PROCID": 2, "SLURM_STEP_NUM_TASKS": 4}, (2, 4)),
        ({"SLURM_PROCID": 0, "SLURM_NTASKS": 4, "SLURM_STEP_NUM_TASKS": 1}, (0, 1)),
        ({"A_ID": 7, "A_MIN": 3, "A_MAX": 9, "A_COUNT": 4, "A_STEP": 2}, (2, 4)),
        ({"A_ID": 0, "A_MIN": 0, "A_COUNT": 1}, (0, 1)),
        ({"A_ID": 6, "A_MIN": 5, "A_COUNT": 3, "RANK": 1, "WORLD_SIZE": 2}, (3, 6)),
        ({"A_ID": 7, "A_MIN": 3, "A_MAX": 7, "A_COUNT": 2, "A_STEP": 1}, None),
        ({"A_ID": 3, "A_MIN": 3, "A_MAX": 7, "A_COUNT": 2, "A_STEP": 1}, None),
    ],
)
def test_the_share_of_a_process_is_its_number_among_all(monkeypatch, environment, share):
    for name in list(os.environ):
        if name.startswith("SLURM_") or name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
            monkeypatch.delenv(name)
    for name, value in environment.items():
        full = name.replace("A_", "SLURM_ARRAY_TASK_") if name.startswith("A_") else name
        monkeypatch.setenv(full, str(value))
    if share is None:
        with pytest.raises(UserError, match="start it with --array=0-1, which does only what is"):
            share_of_work()
    else:
        assert share_of_work() == share


def test_names_of_outputs_keep_the_folders_below_what_is_named(tmp_path):
    for name in ("a/part-2.parquet", "a/part-10.parquet", "b/part-2.arrow", "b/x.data"):
        (tmp_path / "day" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "day" / name).touch()

    def names(path, pattern="out/%s.parquet"):
        return [str(s.output) for s in find_shards(TableSource(path=str(path)), pattern)]

    assert names(tmp_path / "day" / "a") == ["out/part-2.parquet", "out/part-10.parquet"]
    assert names(tmp_path / "day" / "*" / "*", "o/e-%s.parquet") == [
        *("o/e-a/part-2.parquet", "o/e-a/part-10.parquet"),
        *("o/e-b/part-2.parquet", "o/e-b/x.data.parquet"),
    ]
    assert names(tmp_path / "day" / "a" / "part-2.parquet") == ["out/part-2.parquet"]
    (tmp_path / "day" / "a" / "part-2.arrow").touch()
    with pytest.raises(UserError, match=r"part-2.arrow: both would be out/part-2.parquet"):
        names(tmp_path / "day" / "a")


@pytest.mark.parametrize(
    ("more", "match"),
    [
        (("output.path=out/%s.npz",), "outputs of single files are named as out/%s.parquet"),
        (("output.path=%s/%s.parquet",), "named as out/%s.parquet, with %s once"),
        (("output.path=rows/new-%s.parquet",), "its folder holds what is read (rows/part-0.parq"),
        (("data.second_path=rows", "data.id=null"), "two tables are joined by id, and data.id"),
        (("data=npz", "data.path=rows.npz"), "an output for each file is for rows in many"),
        (("data.path=gone",), "gone"),
        (("output.columns=[titel]",), "3 of 3 outputs could not be made"),
    ],
)
def test_what_cannot_be_is_refused(place, more, match):
    ended = daily(place, *more, how=run)
    assert ended.status == 1
    assert match in ended.out + ended.err
    assert "Traceback" not in ended.out + ended.err
    assert not list(place.rglob("new-*"))


def test_a_training_writes_no_output_for_each_file(place):
    train = ("data=table", "data.path=rows", *TINY, "output.path=out/%s.parquet")
    assert "%s stands for each file" in refused("scripts/train.py", *train, cwd=place)
