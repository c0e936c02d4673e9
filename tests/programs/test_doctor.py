"""bidnn doctor: what it prints and writes, and a recommended command that runs."""

import json
import shlex

import numpy as np
import pytest

from bidnn.doctor import Finding, Level
from bidnn.programs.doctor import beside_recipe
from bidnn.programs.help import groups
from bidnn.training.advice import SETTINGS
from tests.doctor.rows import clean
from tests.programs.running import refused, succeed


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files with faults that settings fix, and that none does; one has a name to be quoted."""
    folder = tmp_path_factory.mktemp("doctor")
    first, second = clean(0, rows=400, sizes=(6, 90))
    np.savez(folder / "wide.npz", first=first, second=50 * second)
    np.savez(folder / "unpaired.npz", first=first / 8, second=second[::-1] / 8)
    second = second.copy()
    second[:100] = np.nan
    np.savez(folder / "it's (mine), = {a}.npz", first=first, second=50 * second)
    second[:] = np.nan
    np.savez(folder / "alone.npz", first=first, second=second)
    return folder


def doctor(folder, *settings):
    written = folder / "doctor.json"
    written.unlink(missing_ok=True)
    said = succeed("-m bidnn", "doctor", *settings, f"output.path={written}", cwd=folder)
    return said, json.loads(written.read_text())


def levels(found, level):
    return {f["name"] for f in found["findings"] if f["level"] == level}


def test_the_groups_are_those_of_a_training_but_for_its_outputs():
    training = groups("train")
    del training["output"]
    assert groups("doctor") == training


def test_what_it_recommends_is_pasted_runs_and_leaves_nothing_to_recommend(folder):
    data = ("data=npz", "data.path=wide.npz", "data.batch_size=16")
    said, found = doctor(folder, *data)
    assert levels(found, "fix") == {"range"}
    assert levels(found, "look") == {"balance"}
    assert found["rows"] == "wide.npz: 400 rows of 6 + 90 (400 complete)"
    assert "400 rows of 6 + 90" in said.out
    words = shlex.split(found["command"])
    assert words == [
        *("bidnn", "train", *data),
        *("model.output_activation=linear", "scaling=standard", "loss=separate_means"),
    ]
    assert f"recommended: {found['command']}\n" in said.err
    more = ("model.hdn=8", "model.rep=4", "trainer.max_epochs=1", "hydra.run.dir=run")
    ended = succeed("-m bidnn", *words[1:], *more, cwd=folder)
    assert "doctor: " not in ended.err
    assert "can never be learned" not in ended.err
    _, again = doctor(folder, *words[2:])
    assert {f["level"] for f in again["findings"]} == {"fine"}
    assert shlex.split(again["command"]) == words


def test_rows_that_lack_a_modality_get_the_recipe_for_them(folder):
    data = ("data=npz", r"data.path='it\'s (mine), = {a}.npz'", "scaling=none")
    _, found = doctor(folder, *data)
    words = shlex.split(found["command"])
    assert words[:5] == ["bidnn", "train", *data[:2], "experiment=incomplete"]
    assert words[5:] == ["scaling=standard"]  # in place of what was set, which the recipe had not
    figures = {f["name"]: f["figures"] for f in found["findings"]}
    assert figures["missing"] == {"without_first": 0.0, "without_second": 0.25, "empty": 0.0}
    more = ("model.hdn=8", "model.rep=4", "trainer.max_epochs=1", "hydra.run.dir=recipe")
    succeed("-m bidnn", *words[1:], *more, cwd=folder)
    assert (folder / "recipe" / "embedding_final.npz").is_file()
    _, found = doctor(folder, *data[:2], "experiment=crossmodal")
    assert shlex.split(found["command"])[2:] == [*data[:2], "experiment=crossmodal"]
    (said,) = [f for f in found["findings"] if f["name"] == "missing"]
    assert (said["settings"], said["advice"]) == (
        [],
        "nothing, if experiment=crossmodal is what you want; such rows train with "
        "experiment=incomplete",
    )


@pytest.mark.parametrize(
    ("own", "remedy"),
    [
        ("", "set experiment=incomplete"),
        (
            "experiment=landmarks",
            "nothing, if experiment=landmarks is what you want; such rows train with "
            "experiment=incomplete",
        ),
        ("experiment=incomplete", "leave the loss as experiment=incomplete has it"),
    ],
)
def test_a_recipe_that_was_asked_for_is_not_contradicted(own, remedy):
    recipe = (("experiment", "incomplete"),)
    finding = Finding(name="missing", level=Level.look, sentence="some", settings=recipe)
    assert beside_recipe(finding, own).remedy(SETTINGS) == remedy
    other = Finding(name="size", level=Level.fix, sentence="", settings=(("scaling", "standard"),))
    assert beside_recipe(other, own) == other


def test_what_no_setting_fixes_is_said_first(folder):
    said, found = doctor(folder, "data=npz", "data.path=unpaired.npz")
    assert levels(found, "fix") == {"agreement"}
    assert "no setting fixes what comes first: agreement\n" in said.err
    assert (
        "recommended: bidnn train data=npz data.path=unpaired.npz loss=separate_means\n" in said.err
    )
    written = f"output.path={folder / 'doctor.md'}"
    alone = ("data=npz", f"data.path={folder / 'alone.npz'}")
    assert "recommended" not in succeed("scripts/doctor.py", *alone, written).err
    lines = (folder / "doctor.md").read_text().splitlines()
    assert lines[0].endswith("alone.npz: 400 rows of 6 + 90 (400 without second)")
    (pairs,) = [line for line in lines if line.startswith("| fix")]
    assert "| pairs | 400 rows of 6 + 90 columns, 0 with both modalities: there is" in pairs
    assert "```" not in lines
    data = ("data=npz", f"data.path={folder / 'unpaired.npz'}")
    succeed("scripts/doctor.py", *data, written)
    last = (folder / "doctor.md").read_text().splitlines()[-2]
    assert last.endswith(f"scripts/train.py {data[0]} {data[1]} loss=separate_means")


def test_rows_that_cannot_be_read_and_other_formats_are_refused(folder):
    data = ("data=npz", f"data.path={folder / 'wide.npz'}")
    assert ".json or .md" in refused("scripts/doctor.py", *data, "output.path=found.npz")
    assert "none.npz" in refused("scripts/doctor.py", "data=npz", "data.path=none.npz")
    assert "hdm" in refused("scripts/doctor.py", *data, "model.hdm=3")
