"""`bidnn tune`: what is found, that it goes on after whatever stops it, and that many share it."""

import csv
import json
import shlex
import signal
import time

import numpy as np
import pytest

from tests.programs.running import refused, run, start, succeed
from tests.report.reading import read

TINY = ("data=npz", "data.path=rows.npz", "model.hdn=8", "trainer.max_epochs=20")
SPACE = ("space.model.rep=choice(4,8,16)", "space.optimizer.lr=log(0.001,0.5)")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with rows whose modalities know of each other."""
    folder = tmp_path_factory.mktemp("tune")
    generator = np.random.default_rng(0)
    both = generator.normal(size=(1000, 4))
    first, second = (np.tanh(both @ generator.normal(size=(4, 6))).astype("f4") for _ in "12")
    np.savez(folder / "rows.npz", first=first, second=second)
    return folder


def results(folder):
    """The rows of results.csv."""
    return list(csv.DictReader((folder / "results.csv").read_text().splitlines()))


def drawn(folder):
    """What was drawn and found, without what differs between two runs of the same."""
    return sorted(
        (row["model.rep"], row["optimizer.lr"], row["agreement"], row["failure"])
        for row in results(folder)
    )


@pytest.fixture(scope="module")
def whole(place):
    """A study that nothing disturbed, of twelve trials, some of which fail and some are pruned."""
    space = ("space.model.rep=choice(4,7,16)", SPACE[1])
    folder = place / "whole"
    ended = succeed(
        *("-m bidnn", "tune", *TINY, *space, "trials=12", "seed=3"),
        f"hydra.run.dir={folder}",
        cwd=place,
    )
    return folder, ended


@pytest.mark.slow
def test_a_study_ends_with_the_best_trial_and_its_command_line_gets_the_same(place, whole):
    folder, ended = whole
    rows = results(folder)
    assert sorted(int(row["run"]) for row in rows) == list(range(12))
    failed = [row for row in rows if "rep must be even" in row["failure"]]
    pruned = [row for row in rows if row["failure"].startswith("pruned after ")]
    complete = [row for row in rows if not row["failure"]]
    assert len(failed) + len(pruned) + len(complete) == 12
    assert all(row["model.rep"] == "7" for row in failed)
    assert failed
    assert pruned
    values = [float(row["agreement"]) for row in complete]
    assert values == sorted(values, reverse=True)
    assert "agreement (higher is better)" in ended.out
    assert (folder / "trials.png").read_bytes().startswith(b"\x89PNG")
    assert f"12 trials, {len(pruned)} pruned, {len(failed)} failed" in ended.err
    for row in pruned:
        assert not (folder / "trials" / row["run"]).exists()
    kept = json.loads((folder / "trials" / complete[0]["run"] / "metrics.json").read_text())
    assert kept["agreement"] == values[0]
    (line,) = (line for line in ended.err.splitlines() if "to train it alone: " in line)
    words = shlex.split(line.partition("to train it alone: ")[2])
    assert words[:2] == ["bidnn", "train"]
    assert f"optimizer.lr={complete[0]['optimizer.lr']}" in words
    page = read(folder / "report.html")
    assert (page["objective"], page["best"]["name"]) == ("agreement", complete[0]["run"])
    assert page["keys"] == ["model.rep", "optimizer.lr"]
    assert sorted(page["best"]["command"].split()) == sorted(shlex.join(words).split())
    assert {name for name, _ in page["failed"]} == {row["run"] for row in failed + pruned}
    assert f"report: {folder / 'report.html'}" in ended.err
    succeed("-m bidnn", *words[1:], "hydra.run.dir=alone", cwd=place)
    alone = json.loads((place / "alone" / "metrics.json").read_text())
    assert {name: alone[name] for name in kept} == kept


@pytest.mark.slow
def test_the_same_command_changes_nothing_in_a_study_that_has_ended_and_adds_to_it(place, whole):
    folder, _ = whole
    space = ("space.model.rep=choice(4,7,16)", SPACE[1])
    told = (*TINY, *space, "seed=3", f"hydra.run.dir={folder}")
    before = drawn(folder)
    succeed("-m bidnn", "tune", *told, "trials=12", cwd=place)
    assert drawn(folder) == before
    succeed("-m bidnn", "tune", *told, "trials=13", cwd=place)
    assert len(drawn(folder)) == 13
    assert set(before) < set(drawn(folder))
    assert "there is a study in it" in refused("-m bidnn", "tune", *told, "resume=false", cwd=place)
    other = [*told, "space.model.rep=choice(4,8)"]
    assert 'begun with space.model.rep="choice(4,7,16)"' in refused(
        "-m bidnn", "tune", *other, cwd=place
    )


def wait_for(path):
    """Until there is such a file."""
    for _ in range(600):
        if path.exists():
            return
        time.sleep(0.05)
    raise TimeoutError(path)


OFTEN = "callbacks.checkpoint.every_n_epochs=5"
LONGER = (*TINY[:-1], "trainer.max_epochs=60", OFTEN, *SPACE, "trials=5", "prune=false")


@pytest.fixture(scope="module")
def left_alone(place):
    """What five longer trials find."""
    succeed("scripts/tune.py", *LONGER, "hydra.run.dir=left", cwd=place)
    return drawn(place / "left")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_study_that_is_stopped_goes_on_as_if_nothing_had_been(place, left_alone, number):
    folder = place / f"stopped-{number.name}"
    process = start("scripts/tune.py", *LONGER, f"hydra.run.dir={folder}", cwd=place)
    wait_for(folder / "trials" / "2" / "checkpoints" / "last.ckpt")
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert "Traceback" not in said
    again = ["scripts/tune.py", *LONGER, f"hydra.run.dir={folder}"]
    if number != signal.SIGKILL:
        assert process.returncode == 128 + number
        again = shlex.split(said.splitlines()[-1].partition("to go on: python ")[2])
        assert again[-2:] == ["resume=true", f"hydra.run.dir={folder}"]
    ended = succeed("scripts/tune.py", *again[1:], cwd=place)
    assert drawn(folder) == left_alone
    assert "5 trials, 0 pruned, 0 failed" in ended.err
    assert {row["run"] for row in results(folder)} == {"0", "1", "3", "4", "5"}
    assert sorted(path.name for path in (folder / "trials").iterdir()) == ["0", "1", "2", "4", "5"]
    assert not list((folder / ".workers").iterdir())
    # It went on from its checkpoint.
    log = (folder / "trials" / "2" / "train.log").read_text()
    assert log.count("no checkpoint yet; training from the start") == 1
    cut_off = "trial 2 was cut off with its process" in ended.err
    assert cut_off == (number == signal.SIGKILL)


@pytest.mark.slow
def test_processes_in_one_folder_share_its_trials(place, left_alone):
    told = ("tune", *LONGER, "trials=9", "hydra.run.dir=shared")
    both = [start("-m bidnn", *told, cwd=place) for _ in "12"]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    done = [text.count(": agreement ") for text in said]
    assert sum(done) == 9
    assert all(done)
    rows = results(place / "shared")
    assert sorted(int(row["run"]) for row in rows) == list(range(9))
    assert len({row["optimizer.lr"] for row in rows}) == 9  # nothing was drawn twice
    assert "9 trials, 0 pruned, 0 failed" in max(said, key=lambda text: text.count("9 trials"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("told", "line"),
    [
        ((*SPACE, "model.hdm=3"), "Key 'hdm' not in 'NetworkConfig'; did you mean hdn?"),
        ((*SPACE, "data.path=nix.npz"), "nix.npz: no such file"),
        (("space.optimizer.lr=log(0,1)",), "space.optimizer.lr=log(0,1): by logarithm"),
        (("space.loss=choice(paper,papr)",), "loss=papr: choose one of"),
        (("space.model.hdn=int(4,8)",), "space.model.hdn: model.hdn is set, too"),
        (("space=default", "space.model.hdn=null", "output.path=z.npz"), "every trial would write"),
        ((*SPACE, "trainer.devices=2"), "a trial trains in one process"),
        (("space.seed=choice(1,2)",), "space.seed: nothing to search"),
        ((*SPACE, "objective=map/embedding"), "objective=map/embedding: no such metric"),
        (
            (*SPACE, "callbacks=early_stopping", "callbacks.best.monitor=nix"),
            "the first trials all failed, for one reason: early stopping by nix",
        ),
        ((*SPACE, "data.val_fraction=0.02"), "more than 20 held-out rows are needed for it"),
        ((), "space: nothing is searched"),
    ],
)
def test_what_would_fail_every_trial_ends_the_study_in_a_line(place, tmp_path, told, line):
    ended = run("-m bidnn", "tune", *TINY, *told, f"hydra.run.dir={tmp_path}", cwd=place)
    assert ended.status == 1, ended.out + ended.err
    assert "Traceback" not in ended.err
    assert line in ended.err.splitlines()[-1]
