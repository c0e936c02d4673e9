"""Ten draws of the crash matrix, of which `make fuzz` makes 300, and what it would notice."""

import pytest

from fuzz.crashes import Matrix, table
from fuzz.draws import Draw
from fuzz.traces import differences, is_reported, log_lines

pytestmark = pytest.mark.slow
MOMENTS = ("training", "interval output", "final output", "command")
SEED = 0


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    return Matrix(tmp_path_factory.mktemp("matrix"))


@pytest.mark.parametrize("number", range(10))
def test_a_run_that_is_interrupted_and_resumed_is_the_run_left_alone(matrix, number):
    draw = Draw.of(SEED, number, ["plain"], MOMENTS)
    try:
        _, found = matrix.try_(draw)
    except PermissionError as error:
        pytest.skip(str(error))
    assert not found, draw


def leave(folder, *, rows="1,2\n3,4\n", **more):
    """A folder as a run leaves it."""
    run = folder / "run"
    run.mkdir(parents=True)
    said = "2026-01-01 00:00:00,000 INFO    bidnn.programs.train: "
    files = {
        "embedding_final.npz": "vectors",
        "metrics.csv": rows,
        "train.log": f"{said}compiled in 1.5 s\n{said}run folder: {run}\n",
        **more,
    }
    for name, content in files.items():
        (run / name).write_text(content)
    (folder / "begun-final").touch()
    return folder


def test_what_differs_is_named(tmp_path):
    alone = leave(tmp_path / "alone-0")
    same = leave(tmp_path / "draw-0")
    assert differences(alone, same, log_lines(same / "run", "")) == []
    other = leave(tmp_path / "draw-1", rows="1,2\n", **{".x.0123abcd.part": "half"})
    (other / "run" / "embedding_final.npz").unlink()
    (other / "begun-final").unlink()
    assert differences(alone, other, log_lines(tmp_path, "00:00:01 INFO    compiled in 9.1 s")) == [
        "no embedding_final.npz",
        ".x.X.part is left",
        "other metrics.csv",
        "no command final",
        "not logged: run folder: FOLDER/run",
    ]


def test_the_table_counts_by_fault_and_moment():
    rows = {("SIGINT", "command"): ["", "", "a", "a", "skipped", "at its end before"]}
    rows["SIGINT", "command"].append("reported losses")
    assert table(rows).splitlines()[1].split() == ["SIGINT", "command", *"6111", "2:", "a"]


def test_only_what_follows_from_a_reported_loss_is_reported():
    said = {"FOLDER/run/embedding_00002.npz: the output could not be written (No space left)"}
    follows = ("no embedding_00002.npz", "no command 00002", "other checkpoints/last.ckpt: metrics")
    assert all(is_reported(differs, said, steers=False) for differs in follows)
    assert not any(is_reported(differs, set(), steers=True) for differs in follows)
    for differs in ("no embedding_00004.npz", "other checkpoints/last.ckpt: state_dict"):
        assert not is_reported(differs, said, steers=False)
