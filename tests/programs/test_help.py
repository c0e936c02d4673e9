"""What `--help` says: of every program, and of every setting."""

import re
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from bidnn.errors import UserError
from bidnn.programs.config import CONF, PROGRAMS
from bidnn.programs.docs import Settings
from bidnn.programs.help import EXAMPLES, explain, groups
from bidnn.programs.settings import compose_program
from tests.programs.running import refused, succeed


def keys(node, above=""):
    """Every key of a composition, dotted."""
    for name in node:
        key = f"{above}.{name}" if above else str(name)
        yield key
        inner = None if OmegaConf.is_interpolation(node, name) else node._get_node(name)
        if isinstance(inner, DictConfig) and not inner._is_none() and not inner._is_missing():
            yield from keys(inner, key)


@pytest.mark.parametrize(
    ("program", "overrides"),
    [
        ("train", []),
        ("train", ["callbacks=early_stopping", "logger=csv", "data=libsvm", "optimizer=adam"]),
        ("train", ["data=npy", "experiment=incomplete"]),
        ("embed", ["data=mat"]),
        ("convert", ["data=npz"]),
        ("tune", []),
        ("export", ["onnx=graphs"]),
    ],
)
def test_every_key_is_documented(program, overrides):
    config = compose_program(program, overrides)
    settings = Settings(program, config, groups(program))
    for key in keys(config):
        assert all(len(text) > 5 for text in settings.texts(key)), key


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_says_what_a_program_does_in_a_screen_and_names_every_choice(program):
    lines = explain(program, []).splitlines()
    above = lines[: lines.index("Choices (GROUP=CHOICE):")]
    assert len(above) <= 28
    assert max(map(len, lines)) <= 100
    text = "\n".join(lines)
    assert "_schema" not in text
    for example in EXAMPLES[program]:
        assert f"  {example}\n" in text
    for group, files in groups(program).items():
        assert files
        line = next(line for line in lines if line.split()[:1] == [group])
        assert set(re.split(r",? +", line.strip())[1:]) == {p.stem for p in CONF.glob(f"{group}/*")}


def test_a_setting_is_explained_with_value_type_meaning_and_choices():
    assert explain("train", ["model.hdn"]) == (
        "model.hdn=256   (whole number)\n    units of the two outer hidden layers, at least 1.\n"
    )
    text = explain("train", ["embedding.space"])
    assert text.startswith("embedding.space=centres   (centres, inputs, diffusion)\n")
    assert "`inputs`: both" in text
    assert explain("train", ["size=paper", "model.hdn"]).startswith("model.hdn=2048 ")
    assert explain("train", ["trainer.devices"]).startswith("trainer.devices=1\n")


def test_a_group_is_explained_with_its_choices_and_its_settings():
    text = explain("train", ["experiment", "callbacks", "loss"])
    assert "  crossmodal          Rows with only the first and rows with only the second" in text
    assert "  callbacks.report\n      Mean average precision" in text
    assert "  loss.self_weight=0.0   (number)\n" in text
    assert "no report on more rows" in explain("train", ["callbacks.report.max_rows"])


def test_the_help_of_tune_knows_its_own_settings_and_those_of_the_trainings():
    assert explain("tune", ["trials=7", "trials"]).startswith("trials=7   (whole number)\n")
    assert explain("tune", ["size=paper", "model.hdn"]) == explain(
        "train", ["size=paper", "model.hdn"]
    )
    text = explain("tune", ["space=default", "space.model.rep=choice(2,4)", "space", "sampler"])
    assert "  incomplete          What experiment=incomplete leaves to choose" in text
    assert "sampler=tpe   (tpe, random)" in text


def test_what_is_no_setting_is_refused_by_name():
    with pytest.raises(UserError, match=r"model\.hdm: no such setting; bidnn train --help"):
        explain("train", ["model.hdm"])
    with pytest.raises(UserError, match="size=huge: choose one of digits, paper"):
        explain("train", ["size=huge", "model.hdn"])


def test_an_own_folders_choices_are_among_the_others(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\n# What I do.\nmodel: {hdn: 7}\n"
    )
    assert "paper, mine\n" in explain("train", ["--config-dir", str(tmp_path)])
    text = explain(
        "train", [f"--config-dir={tmp_path}", "experiment=mine", "experiment", "model.hdn"]
    )
    assert "  mine                What I do.\n" in text
    assert "model.hdn=7 " in text


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_help_is_the_same_from_the_script_and_the_command(program):
    said = succeed("-m bidnn", program, "--help").out
    assert said == succeed(f"scripts/{program}.py", "--help").out == explain(program, [])


@pytest.mark.slow
def test_the_command_lists_its_programs_and_shows_the_epochs_mark_as_it_is_typed():
    said = succeed("-m bidnn", "--help").out
    for program in (*PROGRAMS, "evaluate"):
        assert f"bidnn {program} …" in said
    assert "%e" in said
    assert "%%" not in said
    assert re.fullmatch(r"bidnn \d+\.\d+\S*\n", succeed("-m bidnn", "--version").out)
    assert "usage: bidnn evaluate " in succeed("-m bidnn", "evaluate", "--help").out
    assert "model.hdm" in refused("-m bidnn", "train", "--help", "model.hdm", cwd=Path.cwd())
