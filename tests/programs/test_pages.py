"""README.md and docs/ as they stand: what is written there can be typed, and what it names exists.

docs/extending.md is followed to the letter in test_extending.py.
"""

import itertools
import json
import re
import shlex
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from pyarrow import parquet
from sklearn.datasets import dump_svmlight_file

from bidnn.original.command_line import parse
from bidnn.programs.config import PROGRAMS
from bidnn.programs.entry import for_hydra
from bidnn.programs.help import explain
from bidnn.programs.settings import compose_program, typed
from bidnn.programs.tuning.space import read_space
from tests.programs.running import ROOT, run, succeed

README = (ROOT / "README.md").read_text()
PAGES = {"README.md": README} | {
    path.name: path.read_text()
    for path in sorted((ROOT / "docs").glob("*.md"))
    if path.name != "extending.md"
}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.S | re.M)
SPAN = re.compile(r"`([^`]+)`")
LAUNCHED = re.compile(r'^(?:torchrun|srun|sbatch) .*?(bidnn [^"]*)"?$')


def typed_lines(text):
    """The command lines of a page's blocks, then those of its prose that leave nothing out."""
    begins = ("python ", "bidnn ", "make ")
    for language, block in BLOCK.findall(text):
        if language in ("", "sh"):
            lines = (line.partition(" #")[0].strip() for line in block.splitlines())
            lines = (LAUNCHED.sub(r"\1", line) for line in lines)
            yield from (line for line in lines if line.startswith(begins))
    for span in SPAN.findall(BLOCK.sub("", text)):
        line = " ".join(span.split())
        if line.startswith(begins) and "…" not in line and line != "python -m bidnn":
            yield line


def command(line):
    """The program that a line calls, and its arguments; `original` is one, too."""
    words = shlex.split(line)
    if words[0] == "make":
        return "make", words[1:]
    if words[0] == "python" and words[1] != "-m":
        assert (ROOT / words[1]).is_file(), line
        return words[1].removeprefix("scripts/").removesuffix(".py"), words[2:]
    if words[0] == "python" and words[2].startswith("fuzz."):
        assert (ROOT / f"{words[2].replace('.', '/')}.py").is_file(), line
        return words[2], words[3:]
    rest = words[1:] if words[0] == "bidnn" else words[3:]
    assert words[0] == "bidnn" or words[1:3] == ["-m", "bidnn"], line
    return (rest[0], rest[1:]) if rest[0] in (*PROGRAMS, "evaluate") else ("original", rest)


LINES = list(dict.fromkeys(line for text in PAGES.values() for line in typed_lines(text)))
OF_PROGRAMS = [line for line in LINES if command(line)[0] in PROGRAMS]


def test_the_pages_are_read():
    programs = [command(line)[0] for line in LINES]
    assert {*PROGRAMS, "evaluate", "original", "make"} <= set(programs)
    assert programs.count("train") >= 8


@pytest.mark.parametrize("line", OF_PROGRAMS)
def test_every_setting_of_a_command_is_one(line):
    program, arguments = command(line)
    if "--help" in arguments:
        asked = ["model.hdn" if a == "KEY" else a for a in arguments if a != "--help"]
        assert explain(program, asked)
        return
    arguments = for_hydra(program, arguments)
    overrides = OverridesParser.create().parse_overrides([a for a in arguments if a != "-m"])
    sweeps = [o.is_sweep_override() for o in overrides]
    assert any(sweeps) == ("-m" in arguments)
    values = [
        [f"{o.get_key_element()}={value}" for value in o.sweep_string_iterator()]
        if sweep
        else [o.input_line]
        for o, sweep in zip(overrides, sweeps, strict=True)
    ]
    every = list(itertools.product(*values))
    for settings in {every[0], every[-1]}:
        place = ["run_dir=somewhere"] if program in ("train", "embed", "compare", "tune") else []
        config = typed(compose_program(program, [*settings, *place]))
        assert isinstance(config, PROGRAMS[program])
        if program == "tune":
            drawn = [f"{key}={found.tried[0]}" for key, found in read_space(config.space).items()]
            compose_program("train", [*config.train, *drawn])


def test_the_version_that_is_cited_and_whose_changes_are_told_first_is_the_packages():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == version
    changes = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert changes[0] == version


def test_what_make_is_told_is_a_target_and_a_row_of_the_bench():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    rows = succeed("benchmarks/bench.py", "--list").out.split()
    for line in LINES:
        program, arguments = command(line)
        if program == "make":
            assert arguments[0] in targets, line
            for names in arguments[1:]:
                assert set(names.removeprefix("NAMES=").split()) <= set(rows), line


@pytest.mark.parametrize("page", ["README.md", "training.md"])
def test_the_environment_is_activated_before_the_first_command_that_needs_it(page):
    activation = "source .venv/bin/activate"
    assert PAGES[page].index(activation) < PAGES[page].index("python scripts/")
    assert "VENV := .venv\n" in (ROOT / "Makefile").read_text()


def test_the_readme_is_short_and_begins_with_how_to_begin():
    lines = README.splitlines()
    assert len(lines) <= 70
    assert lines.index("pip install bidnn") < 20
    assert lines.index("| you have | you want | begin with |") < 32


def test_the_readme_shows_what_training_prints():
    (shown,) = (block for _, block in BLOCK.findall(README) if "one vector per row" in block)
    figures = re.findall(r"│ (\w.*?) +│ (0\.\d+) │", shown)
    printed = (ROOT / "bidnn" / "training" / "callbacks" / "report.py").read_text()
    assert len(figures) == 3
    assert all(f'"{name}"' in printed for name, _ in figures)
    table = PAGES["missing.md"].split("| one vector per row | mAP |\n|---|---|\n")[1]
    rows = table.split("\n\n")[0]
    assert [tuple(row.strip("| ").split(" | ")) for row in rows.splitlines()] == figures


def test_every_flag_of_the_original_is_in_the_table(capsys):
    rows = PAGES["migrating.md"].split("## Flag by flag\n\n")[1].split("\n\n")[0]
    cells = [cell for row in rows.splitlines()[2:] for cell in row.strip("|").split("|")]
    named = set(re.findall(r"--[a-z0-9-]+|\b[a-z0-9]{6,}\b", " ".join(cells[0::2])))
    with pytest.raises(SystemExit):
        parse(["--help"])
    said = capsys.readouterr().out.split("positional arguments:")[1]
    known = {*re.findall(r"--[a-z0-9-]+", said), *re.findall(r"^  ([a-z]\w+) ", said, re.M)}
    assert len(known) > 20
    assert named >= known - {"--help"}


def test_the_tests_that_keep_a_promise_are_there():
    named = {name for text in PAGES.values() for name in re.findall(r"\btest_\w+\.py", text)}
    assert len(named) > 5
    assert named <= {path.name for path in (ROOT / "tests").rglob("test_*.py")}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the files that the README calls a person's own."""
    folder = tmp_path_factory.mktemp("readme")
    generator = np.random.default_rng(0)
    first = generator.uniform(0.1, 0.9, (60, 5)).astype("f4")
    second = generator.uniform(0.1, 0.9, (60, 7)).astype("f4")
    first[:10], second[10:20] = np.nan, np.nan
    for name in ("features.npz", "new.npz"):
        np.savez(folder / name, first=first, second=second, label=np.arange(60) % 3)
    np.save(folder / "text.npy", first)
    np.save(folder / "image.npy", second)
    vectors = {"embedding": np.hstack([first, first]), "present": np.ones((60, 2), bool)}
    vectors["present"][:30, 0] = False
    vectors["embedding"][:10] = 0.5
    np.savez(folder / "embedding.npz", **vectors, label=np.arange(60) % 3)
    rows = generator.uniform(0.1, 0.9, (12, 4196)).round(3)
    rows[0, :100], rows[1, 100:] = 0, 0
    for name in ("features.txt", "dataset.txt"):
        with (folder / name).open("wb") as file:
            dump_svmlight_file(rows, np.arange(12), file, zero_based=False)
    (folder / "evaluate.py").write_text("#!/bin/sh\necho evaluated $1\n")
    (folder / "evaluate.py").chmod(0o755)
    train = ("data=npz", "data.path=features.npz", *SHORTER["train"])
    succeed("scripts/train.py", *train, "hydra.run.dir=runs/DATE/TIME", cwd=folder)
    return folder


SHORTER = {
    "train": ("model.hdn=8", "model.rep=4", "trainer.max_epochs=1", "callbacks.progress=null"),
    "original": ("-e", "1"),
}
PASTED = ("README.md", "training.md", "missing.md", "embeddings.md", "losses.md", "evaluation.md")
IN_BLOCKS = [
    line
    for page in (*PASTED, "migrating.md")
    for line in typed_lines("".join(f"```{a}\n{b}```\n" for a, b in BLOCK.findall(PAGES[page])))
    if command(line)[0] in ("train", "embed", "evaluate", "original")
]


@pytest.mark.slow
@pytest.mark.parametrize("line", IN_BLOCKS)
def test_the_pages_commands_do_as_pasted_only_shorter(place, line):
    program, _ = command(line)
    words = shlex.split(line)
    if program == "original":  # of the paper's size, which test_programs.py has
        assert parse(words[3:]).hdn == 2048
        words = ["8" if word == "2048" else word for word in words]
    named = ["-m bidnn", *words[1:]] if words[0] == "bidnn" else words[1:]
    called, *rest = ["-m bidnn", *words[3:]] if words[1] == "-m" else named
    ended = run(called, *rest, *SHORTER.get(program, ()), cwd=place)
    assert ended.status == 0, ended.out + ended.err
    assert "Traceback" not in ended.err


def small(code):
    """A block of a page, its networks and trainings made small."""
    code = code.replace("BiDNN(rep=128)", "BiDNN(hdn=8, rep=4, epochs=2)")
    code = code.replace("hdn=256, rep=128, epochs=200", "hdn=8, rep=4, epochs=2")
    code = code.replace('recipe="crossmodal", ', 'recipe="crossmodal", epochs=2, ')
    code = code.replace('callbacks="early_stopping", ', 'callbacks="early_stopping", epochs=2, ')
    code = code.replace('epochs=100), {"rep": [64, 128]}', 'epochs=2), {"rep": [2, 4]}')
    return code.replace("hdn=2048, rep=2048", "hdn=8, rep=4, epochs=2")


def test_the_readmes_python_runs():
    (code,) = (block for language, block in BLOCK.findall(README) if language == "python")
    assert small(code).count("epochs=2") == code.count("BiDNN(") == 1
    first, second = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 80, 5)).astype("f4")
    first[:5], second[5:10] = np.nan, np.nan
    names = {"first": first, "second": second}
    exec(compile(small(code), "README.md", "exec"), names)
    assert names["vectors"].shape == (80, 4)
    assert names["second_from_first"].shape == second.shape


def test_the_evaluation_pages_python_runs(capsys):
    (code,) = (b for language, b in BLOCK.findall(PAGES["evaluation.md"]) if language == "python")
    labels = np.arange(40) % 2
    vectors = np.eye(2)[labels] + np.random.default_rng(0).uniform(0, 0.1, (40, 2))
    exec(compile(code, "evaluation.md", "exec"), {"vectors": vectors, "labels": labels})
    assert [float(word) for word in capsys.readouterr().out.split()] == pytest.approx([1, 1])


def test_the_python_pages_python_runs(tmp_path, monkeypatch, capsys):
    (code,) = (b for language, b in BLOCK.findall(PAGES["python.md"]) if language == "python")
    assert small(code).count("epochs=2") == code.count("BiDNN(") == 5
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    first, second = generator.uniform(-0.5, 0.5, (2, 80, 5)).astype("f4")
    first[:5], second[5:10] = np.nan, np.nan
    rows = generator.uniform(0.1, 0.9, (12, 4196))
    names = {"first": first, "second": second, "X": rows}
    names |= {"first_val": first[20:40], "second_val": second[20:40]}
    exec(compile(small(code), "python.md", "exec"), names)
    assert names["embedding"].shape == (80, 4)
    assert names["second_from_first"].shape == second.shape
    assert -10 < float(capsys.readouterr().out.splitlines()[-1]) < 1
    assert (tmp_path / "model.pt").is_file()
    assert (tmp_path / "runs" / "mine" / "checkpoints" / "last.ckpt").is_file()
    assert names["out"].shape == (12, 4)


DATA = BLOCK.findall(PAGES["data.md"])


def follow(blocks, folder):
    """Does what a page says, only with small networks; gives the names that its Python made."""
    names = {}
    for language, block in blocks:
        if language == "python":
            exec(compile(block, "docs", "exec"), names)
        for line in block.splitlines() if language == "sh" else ():
            program, rest = command(line)
            shorter = SHORTER.get(program, ())
            succeed(f"scripts/{program}.py", *rest, *shorter, cwd=folder)
    return names


@pytest.mark.slow
def test_the_search_page_finds_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = follow(BLOCK.findall(PAGES["search.md"]), tmp_path)
    assert names["hits"].places.shape == (2, 5)
    assert len(names["Index"].open("embedding.parquet.index")) == 90
    assert (
        parquet.read_table("hits.parquet")["query"].to_pylist() == ["a"] * 3 + ["b"] * 3 + ["c"] * 3
    )


@pytest.mark.slow
def test_the_sharing_page_gives_the_same_vectors_every_way(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = follow(BLOCK.findall(PAGES["sharing.md"]), tmp_path)
    own = names["net"].transform(names["text"], names["image"])
    np.testing.assert_array_equal(np.load("embedding.npz")["embedding"], own)
    np.testing.assert_allclose(names["embedding"][30:], own[30:], atol=1e-5)
    image_only = names["again"].transform(second=names["image"][:30])
    np.testing.assert_allclose(names["embedding"][:30], image_only, atol=1e-5)
    assert "Finding videos by text or image." in Path("videos/README.md").read_text()
    assert "Tried in English." in Path("copy/README.md").read_text()


@pytest.mark.slow
def test_the_sweeps_page_finds_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall(PAGES["sweeps.md"])
    commands = "".join(block for language, block in blocks if language == "sh").splitlines()
    for language, block in blocks:
        if language == "python":
            exec(compile(block, "sweeps.md", "exec"), {})
        if language == "yaml":
            (tmp_path / "mine" / "space").mkdir(parents=True)
            (tmp_path / "mine" / "space" / "small.yaml").write_text(block)
    programs = []
    for line in commands:
        program, rest = command(line)
        succeed(f"scripts/{program}.py", *rest, cwd=tmp_path)
        programs.append(program)
    assert programs == ["train", "tune", "embed", "tune"]
    (grid,) = tmp_path.glob("runs/sweeps/*/*/results.csv")
    assert len(pd.read_csv(grid)) == 4
    found = pd.read_csv("runs/tune/mine/results.csv")
    assert sorted(found["run"]) == list(range(7))
    assert found["agreement"].dropna().is_monotonic_decreasing
    assert np.load("embedding.npz")["embedding"].shape[0] == 1000
    rest = [*command(commands[1])[1][:3], "--config-dir", "mine", "space=small", "trials=2"]
    succeed("scripts/tune.py", *rest, "hydra.run.dir=own", cwd=tmp_path)
    own = pd.read_csv("own/results.csv")
    assert len(own) == 2
    assert own["model.dropout"].between(0, 0.5).all()


@pytest.mark.slow
def test_the_doctor_says_what_its_page_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall(PAGES["doctor.md"])
    follow([block for block in blocks if block[0] == "python"], tmp_path)
    (commands,), (shown,) = ([b for kind, b in blocks if kind == name] for name in ("sh", "text"))
    asked, again, trained = commands.splitlines()
    said = succeed("-m bidnn", *shlex.split(asked)[1:], cwd=tmp_path)
    for line in shown.splitlines():
        assert line == "…" or line.strip() in said.out + said.err
    said = succeed("-m bidnn", *shlex.split(again)[1:], cwd=tmp_path)
    assert f"recommended: {trained}\n" in said.err
    assert json.loads(Path("doctor.json").read_text())["command"] == trained
    succeed("-m bidnn", *shlex.split(trained)[1:], *SHORTER["train"], cwd=tmp_path)


@pytest.mark.slow
def test_every_format_of_the_data_page_is_made_trained_on_and_embedded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    names = follow(DATA, tmp_path)
    whole = np.load("npy.npz")
    assert whole["id"].tolist() == names["names"].tolist()
    for other in ("shards.npz", "hdf5.npz", "zip.npz", "mat.npz", "libsvm.npz"):
        np.testing.assert_array_equal(np.load(other)["embedding"], whole["embedding"])
    found = np.stack(names["embedded"]["embedding"].to_list())
    np.testing.assert_array_equal(found, whole["embedding"])
    groups = pd.read_parquet("groups.parquet").set_index("id").loc[whole["id"]]
    found = np.stack(groups["embedding"].to_list())  # of groups by name, so in other batches
    np.testing.assert_allclose(found, whole["embedding"], atol=1e-6)
    assert parquet.read_table("translated.parquet")["id"].to_pylist() == names["names"].tolist()
    assert parquet.read_table("converted.parquet").column_names == ["id", "first", "second"]
    titled = parquet.read_table("titles.parquet")
    assert titled["title"].to_pylist() == names["names"].tolist()
    assert titled["views"].to_pylist() == list(range(60))
    parts = parquet.read_table("out").sort_by("id")
    table = parquet.read_table("table.parquet").sort_by("id")
    assert parts["embedding"].to_pylist() == table["embedding"].to_pylist()
    assert json.loads(Path("out/_manifest.json").read_text())["complete"] is True
    assert parquet.read_table("day1.parquet")["id"].to_pylist() == names["names"][20:].tolist()
    assert names["batch"]["embedding"].shape == whole["embedding"].shape
    lengths = np.linalg.norm(names["batch"]["embedding"], axis=1)
    np.testing.assert_allclose(lengths, 1, rtol=1e-5)
    log = (tmp_path / "joined" / "train.log").read_text()
    assert "40 ids in both, 10 in the first only, 10 in the second only" in log


def test_the_data_page_has_every_source():
    sources = {path.stem for path in (ROOT / "conf" / "data").glob("*.yaml")} - {"digits", "arrays"}
    text = "".join(block for language, block in DATA if language == "sh")
    assert sources == set(re.findall(r"\bdata=(\w+)", text))
