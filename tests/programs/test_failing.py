"""How programs fail: a mistake is one line and leaves nothing, a fault of ours is a traceback."""

import sys

import pytest

from bidnn.__main__ import main, meant
from bidnn.errors import UserError
from bidnn.programs import convert
from bidnn.programs.entry import FAULT, flags_first, for_hydra, hydra_program
from bidnn.programs.settings import compose_program, typed
from tests.programs.running import TINY, refused, run, succeed

pytestmark = pytest.mark.slow


def test_a_run_that_is_refused_leaves_no_folder_behind(tmp_path):
    (tmp_path / "kept").mkdir()
    nothing = ("data=npz", "data.path=nothing.npz")
    for program in ("-m bidnn", "scripts/train.py"):
        own = ("train",) if program == "-m bidnn" else ()
        assert "nothing.npz" in refused(program, *own, *nothing, cwd=tmp_path)
    refused("scripts/train.py", *nothing, "hydra.run.dir=made/deep", cwd=tmp_path)
    refused("scripts/train.py", *nothing, "hydra.run.dir=kept", cwd=tmp_path)
    refused("scripts/embed.py", *nothing, "checkpoint=none", cwd=tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["kept", "made", "train.log"]
    assert "nothing.npz" in (tmp_path / "kept" / "train.log").read_text()


def test_a_folder_that_something_is_in_stays(tmp_path):
    run_dir = "hydra.run.dir=run"
    succeed("-m bidnn", "train", *TINY, run_dir, "callbacks.report=null", cwd=tmp_path)
    before = sorted((tmp_path / "run").rglob("*"))
    refused("-m bidnn", "train", "data=npz", "data.path=none.npz", run_dir, cwd=tmp_path)
    assert set(before) <= set((tmp_path / "run").rglob("*"))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("trainer.max_epochs=abc", "'abc' of type 'str' could not be converted to Integer"),
        ("loss=nope", "loss=nope: choose one of incomplete, paper, self, separate_means"),
        (
            "data=csv",
            "data=csv: choose one of arrays, digits, embeddings, hdf5, libsvm, mat, npy, npz",
        ),
        ("activation=tan", "expected one of [tanh, sigmoid, relu, linear]"),
        ("missing=zero", "expected one of [duplicate, translate]"),
    ],
)
def test_a_wrong_choice_is_one_line_that_names_the_choices(tmp_path, setting, said):
    line = refused("-m bidnn", "train", setting, cwd=tmp_path)
    assert said in line
    assert "_schema" not in line
    assert not list(tmp_path.iterdir())


def test_a_fault_of_ours_keeps_its_traceback_and_asks_for_a_report(tmp_path, monkeypatch, capfd):
    def broken(config):
        raise IndexError("slice step cannot be zero")

    monkeypatch.setattr(convert, "run", broken)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["bidnn", "data=digits", "output.path=x.npz"])
    with pytest.raises(SystemExit) as ended:
        hydra_program("convert")()
    assert ended.value.code == FAULT
    error = capfd.readouterr().err
    assert "Traceback" in error
    assert error.index("IndexError: slice step") < error.index("This is a fault of bidnn 0.")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["--experiment=crossmodal"], "--experiment=crossmodal: settings have no dashes: exp"),
        (["--experiment", "crossmodal"], "settings have no dashes: experiment=VALUE"),
        (["seed=1", "--model.rep=8"], "--model.rep=8: settings have no dashes: model.rep=8"),
    ],
)
def test_a_setting_with_dashes_is_no_flag_of_hydras(typed, said):
    with pytest.raises(UserError) as error:
        for_hydra("train", typed)
    assert said in str(error.value)
    assert for_hydra("train", ["-m", "--config-dir", "x", "--cfg=job", "seed=1"])[-1] == "seed=1"


@pytest.mark.parametrize(
    ("words", "program"),
    [(["serch", "x"], "search"), (["trian"], "train"), (["rows.txt"], None), ([], None)],
)
def test_a_program_that_is_misspelt_is_guessed(words, program):
    assert meant(words) == program


def test_a_program_that_is_misspelt_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bidnn", "serch", "x"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "bidnn: error: serch: no such program; did you mean search?\n"
    )


def test_a_word_that_is_a_file_is_the_originals(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "serch").touch()
    assert meant(["serch", "out.npz"]) is None


@pytest.mark.parametrize(
    ("program", "setting", "near"),
    [
        ("export", "card.licence=mit", "license"),
        ("train", "model.hdm=3", "hdn"),
        ("search", "output.pth=x.jsonl", "path"),
    ],
)
def test_the_nearest_key_is_named_however_deep(program, setting, near):
    with pytest.raises(UserError, match=rf"did you mean {near}\?"):
        compose_program(program, [setting])


def test_flags_may_stand_between_settings():
    given = ["seed=1", "--config-dir", "mine", "model.rep=8", "-m", "--cfg=job"]
    assert flags_first(given) == [
        "--config-dir",
        "mine",
        "-m",
        "--cfg=job",
        "seed=1",
        "model.rep=8",
    ]


def test_what_may_follow_info_is_no_setting_and_other_flags_keep_their_values():
    given = ["data=npz", "--info", "searchpath", "-cp", "conf", "seed=1"]
    assert flags_first(given) == ["--info=searchpath", "-cp", "conf", "data=npz", "seed=1"]
    assert flags_first(["data=npz", "-i"]) == ["--info=all", "data=npz"]
    assert flags_first(["--info", "data=npz"]) == ["--info=all", "data=npz"]
    rerun = ["--experimental-rerun", "job.pickle"]
    assert flags_first(["seed=1", *rerun]) == [*rerun, "seed=1"]


@pytest.mark.parametrize(
    ("program", "setting", "said"),
    [
        ("train", "loss.delt=0.5", "is not in struct; did you mean delta?"),
        ("train", "loss.alignment=0.5", "Key 'alignment' is not in struct; there are delta"),
        ("train", "model.hdm=3", "did you mean hdn?"),
        ("train", "+trainer.foo=3", "+trainer.foo: no such setting"),
        ("train", "+trainer.max_epoch=3", "no such setting; did you mean max_epochs?"),
        ("train", "+modle.rep=3", "+modle: no such setting; did you mean model?"),
        ("compare", "seds=[1]", "did you mean seeds?"),
        ("compare", "trainer.max_epochs=5", "trained: common=[trainer.max_epochs=…]"),
    ],
)
def test_a_key_that_is_not_known_is_answered_by_its_neighbours(tmp_path, program, setting, said):
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "own.yaml").write_text("_target_: own.Own\ndelta: 1.0\n")
    own = ["loss=own", "run_dir=null"] if program == "train" else []
    with pytest.raises(UserError) as error:
        typed(compose_program(program, ["data=digits", *own, setting], [tmp_path]))
    line = str(error.value)
    assert said in line
    assert line.count("did you mean") <= 1
    key = setting.lstrip("+").split("=")[0].split(".")[0]
    assert f"did you mean {key}?" not in line


def test_the_command_and_the_script_are_one_program(tmp_path):
    for program in ("-m bidnn", "scripts/train.py"):
        own = ("train",) if program == "-m bidnn" else ()
        name = f"hydra.run.dir={len(own)}"
        succeed(program, *own, *TINY, name, "callbacks.report=null", cwd=tmp_path, fresh=True)
    files = [(tmp_path / str(n) / "embedding_final.npz").read_bytes() for n in (0, 1)]
    assert files[0] == files[1]
    assert all((tmp_path / str(n) / "train.log").exists() for n in (0, 1))
    assert run("-m bidnn", "trian", cwd=tmp_path).status == 2
