"""Which folder a run gets, and what happens when two want the same one."""

import json
import time

import pytest

from tests.programs.running import TINY, refused, start, succeed

pytestmark = pytest.mark.slow
TRAIN = "scripts/train.py"
SHORT = (*TINY, "callbacks.report=null", "logger=none")


def test_runs_that_start_in_the_same_second_get_a_folder_each(tmp_path):
    same = "hydra.run.dir=${new_folder:runs/12-00-00}"  # as the default, in a second that stays
    started = [start(TRAIN, *SHORT, f"seed={seed}", same, cwd=tmp_path) for seed in range(3)]
    said = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], said
    folders = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert folders == ["12-00-00", "12-00-00-2", "12-00-00-3"]
    outputs = {p.read_bytes() for p in (tmp_path / "runs").glob("*/embedding_final.npz")}
    assert len(outputs) == 3  # of three seeds
    assert all(len(list((tmp_path / "runs" / name).glob("train.log"))) == 1 for name in folders)


def test_the_jobs_of_a_sweep_share_its_folder_and_the_next_sweep_has_another(tmp_path):
    same = "hydra.sweep.dir=${new_folder:sweep}"
    sweep = ("-m", "seed=1,2", *SHORT, same)
    for _ in range(2):
        succeed(TRAIN, *sweep, cwd=tmp_path)
    for name in ("sweep", "sweep-2"):
        jobs = [p.name for p in sorted((tmp_path / name).iterdir()) if p.is_dir()]
        assert jobs == ["0", "1"]
        assert all((tmp_path / name / job / "metrics.json").is_file() for job in jobs)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sweep", "sweep-2"]


def test_a_second_run_in_the_same_folder_is_told_who_is_at_work_there(tmp_path):
    folder = f"hydra.run.dir={tmp_path / 'run'}"
    process = start(TRAIN, *SHORT, "trainer.max_epochs=100000", folder)
    while not (tmp_path / "run" / "run.json").exists() and process.poll() is None:
        time.sleep(0.01)
    before = (tmp_path / "run" / "run.json").read_bytes()
    line = refused(TRAIN, *SHORT, "seed=7", folder)
    assert f"another run is at work in this folder (process {process._process.pid} on " in line
    assert (tmp_path / "run" / "run.json").read_bytes() == before
    process.kill()
    process.communicate()
    succeed(TRAIN, *SHORT, "seed=7", folder)  # the lock went with the process
    assert json.loads((tmp_path / "run" / "run.json").read_text())["arguments"][-2] == "seed=7"
