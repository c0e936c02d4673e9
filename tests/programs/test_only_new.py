"""What an earlier output lacks is embedded, and only that; rows that changed, if asked for."""

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.programs.running import TINY, refused, succeed

ROWS = 60


def write(path, numbers, changed=(), ids=None):
    generator = np.random.default_rng(0)
    first = generator.uniform(-0.9, 0.9, (ROWS, 4)).astype("f4")
    second = generator.uniform(-0.9, 0.9, (ROWS, 5)).astype("f4")
    for row in changed:
        second[row, 2] += 0.01
    numbers = list(numbers)
    columns = {"id": ids or [f"v{n}" for n in numbers]}
    columns |= {"first": list(first[numbers]), "second": list(second[numbers])}
    table = pa.table(columns | {"title": [f"title {n}" for n in numbers]})
    parquet.write_table(table, path)
    np.savez(
        path.with_suffix(".npz"),
        first=first[numbers],
        second=second[numbers],
        **{"id": columns["id"]},
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A model; outputs of 40 rows, before; and all 60, of which two have changed, now."""
    folder = tmp_path_factory.mktemp("only_new")
    write(folder / "before.parquet", range(40))
    write(folder / "now.parquet", NOW, changed=(3, 50, 17))
    write(folder / "numbers.parquet", range(10), ids=list(range(10)))
    train = ("data=table", "data.path=now.parquet", *TINY, "output.path=null")
    for seed in (0, 1):
        succeed("scripts/train.py", *train, f"seed={seed}", f"hydra.run.dir=run{seed}", cwd=folder)
    for name in ("old.parquet", "old.npz"):
        rest = ("data.path=before.parquet", f"output.path={name}", "output.fingerprint=true")
        embed(folder, *rest)
    embed(folder, "data.path=before.parquet", "output.path=plain.parquet")
    embed(folder, "data.path=now.parquet", "output.path=whole.parquet")
    return folder


NOW = [*range(59, 29, -1), *range(30)]  # in another order


def embed(place, *more, model="run0", how=succeed):
    return how("scripts/embed.py", f"checkpoint={model}", "data=table", *more, cwd=place)


def check(place, out, expected):
    """An output has these rows, in the order of the table, as an output of all has them."""
    rows, whole = parquet.read_table(place / out), parquet.read_table(place / "whole.parquet")
    assert rows["id"].to_pylist() == [f"v{n}" for n in expected]
    places = [whole["id"].to_pylist().index(name) for name in rows["id"].to_pylist()]
    names = ["id", "embedding", "present_first", "present_second"]
    assert rows.select(names).equals(whole.select(names).take(places))
    return rows


@pytest.mark.parametrize("old", ["old.parquet", "old.npz", "plain.parquet"])
def test_the_ids_that_the_old_output_lacks_are_embedded(place, old):
    out = f"new_of_{old.replace('.', '_')}.parquet"
    columns = "output.columns=[title]"
    said = embed(place, "data.path=now.parquet", f"only_new={old}", f"output.path={out}", columns)
    assert f"20 of 60 rows are not in {old}; the others are left out" in said.out + said.err
    rows = check(place, out, range(59, 39, -1))
    assert rows["title"].to_pylist() == [f"title {n}" for n in range(59, 39, -1)]
    assert "fingerprint" not in rows.column_names


@pytest.mark.parametrize("old", ["old.parquet", "old.npz"])
def test_rows_that_changed_are_embedded_again_if_asked_for(place, old):
    out = f"changed_of_{old.replace('.', '_')}.parquet"
    rest = ("data.path=now.parquet", f"only_new={old}", "changed=true", f"output.path={out}")
    said = embed(place, *rest)
    assert "20 of 60 rows are not in old" in said.out + said.err
    assert "2 have changed" in said.out + said.err
    rows = check(place, out, [*range(59, 39, -1), 3, 17])
    assert rows.schema.field("fingerprint").type == pa.int64()
    days = place / f"days_{old.replace('.', '_')}"
    days.mkdir()
    for number, name in enumerate(("old.parquet", out)):
        (days / f"day-{number}.parquet").write_bytes((place / name).read_bytes())
    rest = ("data.path=now.parquet", f"only_new={days.name}", "changed=true")
    said = embed(place, *rest, f"output.path=nothing_{out}")
    assert "0 of 60 rows are not in days" in said.out + said.err
    assert "0 have changed" in said.out + said.err
    nothing = parquet.read_table(place / f"nothing_{out}")
    assert nothing.num_rows == 0
    assert nothing.schema.field("embedding").type.list_size == 8


def test_other_formats_have_the_new_rows_only_too(place):
    rest = ("data=npz", "data.path=now.npz", "only_new=old.parquet", "output.kind=crossmodal")
    refused_line = refused(
        "scripts/embed.py", "checkpoint=run0", *rest, "output.path=n.npz", cwd=place
    )
    assert "it differs in kind" in refused_line
    rest = ("data=npz", "data.path=now.npz", "only_new=old.npz", "changed=true")
    succeed("scripts/embed.py", "checkpoint=run0", *rest, "output.path=n.npz", cwd=place)
    found, whole = np.load(place / "n.npz"), parquet.read_table(place / "whole.parquet")
    assert found["id"].tolist() == [f"v{n}" for n in (*range(59, 39, -1), 3, 17)]
    vectors = np.array(whole["embedding"].to_pylist(), "f4")
    places = [whole["id"].to_pylist().index(name) for name in found["id"].tolist()]
    np.testing.assert_array_equal(found["embedding"], vectors[places])
    assert found["present"].shape == (22, 2)
    assert len(set(found["fingerprint"].tolist())) == 22


@pytest.mark.parametrize(
    ("more", "model", "match"),
    [
        (("only_new=old.parquet",), "run1", "old.parquet is of another model or made of it"),
        (("only_new=old.parquet", "output.l2_norm=true"), "run0", "it differs in l2_norm"),
        (("only_new=plain.parquet", "changed=true"), "run0", "plain.parquet: has no fingerprint; "),
        (("only_new=gone-*.parquet",), "run0", "only_new=gone-*.parquet: no file is named so"),
        (("only_new=gone.parquet",), "run0", "gone.parquet: no such file"),
        (("changed=true",), "run0", "changed=true: needs only_new=FILE"),
        (("only_new=numbers.parquet",), "run0", "each id is a number there, and a text in now"),
        (("only_new=old.parquet", "data.id=null"), "run0", "now.parquet have no ids to compare"),
        (("only_new=old.parquet", "output.path=out/%s.parquet"), "run0", "use one or the other"),
        (("only_new=refused.parquet",), "run0", "is what is read (refused.parquet)"),
        (("share=[0,2]",), "run0", "share=[0, 2]: of the files of a table"),
        (("share=[2,2]", "output.path=out/%s.parquet"), "run0", "[number, processes], the number"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_line(place, more, model, match):
    (place / "refused.parquet").write_bytes((place / "old.parquet").read_bytes())
    rest = ("data.path=now.parquet", "output.path=refused.parquet", *more)
    assert match in embed(place, *rest, model=model, how=refused)
