"""What a sweep says in the end: its runs, the best first, and results.csv."""

import csv
import json

import pytest

from bidnn.programs.summary import Job, as_csv, ranked, show, swept
from tests.programs.running import run
from tests.report.reading import read

SMALL = ("model.hdn=4", "callbacks.progress=null", "callbacks.report=null", "logger=none")


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_sweep_ends_with_its_runs_ranked_and_a_failed_one_ends_no_other(tmp_path, launcher):
    sweep = tmp_path / "sweep"
    ended = run(
        "scripts/train.py",
        *("-m", "data=digits", *SMALL[:-1], "model.rep=4,7"),
        "trainer.max_epochs=1,3",
        *("objective=val/loss", f"hydra.sweep.dir={sweep}", f"hydra/launcher={launcher}"),
        fresh=launcher == "joblib",
    )
    assert ended.status == 1  # as one of them failed
    assert "val/loss (lower is better)" in ended.out.replace("\n", " ")
    rows = list(csv.DictReader((sweep / "results.csv").read_text().splitlines()))
    assert [row["model.rep"] for row in rows] == ["4", "4", "7", "7"]
    assert [row["trainer.max_epochs"] for row in rows[:2]] == ["3", "1"]
    for row in rows[:2]:
        metrics = json.loads((sweep / row["run"] / "metrics.json").read_text())
        assert float(row["val/loss"]) == metrics["val/loss"]
        assert float(row["agreement"]) == metrics["agreement"]
        assert not row["failure"]
        check_folder(sweep / row["run"], f"rep=4,max_epochs={row['trainer.max_epochs']}")
    assert float(rows[0]["val/loss"]) < float(rows[1]["val/loss"])
    assert all("rep must be even" in row["failure"] and not row["val/loss"] for row in rows[2:])
    assert "model.hdn" not in rows[0]
    page = read(sweep / "report.html")
    assert [run["name"] for run in page["runs"]] == ["1", "0"]
    assert page["runs"][0]["objective"] == pytest.approx(float(rows[0]["val/loss"]), rel=1e-5)
    assert page["best"]["command"].endswith("model.rep=4 trainer.max_epochs=3 objective=val/loss")
    assert [name for name, why in page["failed"] if "rep must be even" in why] == ["2", "3"]
    assert sorted(path.name for path in sweep.iterdir()) == [
        *("0", "1"),
        *("multirun.yaml", "report.html", "results.csv"),
    ]


def check_folder(folder, label):
    """A run of a sweep leaves what a run alone does, named by what was swept."""
    for name in ("config.yaml", "metrics.json", "embedding_final.npz", "train.log"):
        assert (folder / name).exists()
    (named,) = (folder / "tensorboard").iterdir()
    assert named.name == label
    assert list(named.glob("events.*"))
    assert (folder / "checkpoints" / "last.ckpt").exists()


def test_runs_are_ranked_by_what_is_better_and_those_without_it_come_last():
    jobs = [
        Job(0, ["a=1", "b=x"], metrics={"val/loss": 2.0, "agreement": 0.5}),
        Job(1, ["a=2", "b=x"], failure="no memory"),
        Job(2, ["a=3", "b=x"], metrics={"val/loss": 1.0, "agreement": 0.1}),
        Job(3, ["a=4", "b=x", "+c=5"], metrics={"val/loss": float("nan"), "agreement": 0.5}),
    ]
    assert [job.number for job in ranked(jobs, "val/loss")] == [2, 0, 1, 3]
    assert [job.number for job in ranked(jobs, "agreement")] == [0, 3, 2, 1]
    assert swept(jobs) == ["a", "+c"]
    lines = as_csv(ranked(jobs, "agreement"), "agreement").splitlines()
    assert lines[0] == "run,a,+c,agreement,val/loss,failure"
    assert lines[1] == "0,1,,0.5,2.0,"
    assert lines[4] == "1,2,,,,no memory"


def test_a_long_reason_ends_in_an_ellipsis_in_the_table(capsys):
    reasons = {"short": "no rows", "long": "no rows " * 20}
    show([Job(n, ["a=1"], text, {}, failed=True) for n, text in enumerate(reasons.values())], "x")
    said = capsys.readouterr().out
    assert "failed: no rows " in said
    assert f"failed: {reasons['long'][:59]}…" in said
