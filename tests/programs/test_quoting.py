"""Settings that a program prints for its user to paste."""

import json
import shlex
import subprocess
from types import SimpleNamespace

import pyarrow as pa
import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from pyarrow import parquet

from bidnn.errors import UserError
from bidnn.programs import search
from bidnn.programs.entry import for_hydra
from bidnn.programs.processes import resuming_command
from bidnn.programs.quoting import as_text, typed_setting
from bidnn.programs.settings import compose_program, typed


def received(typed):
    """What a program gets, by shell, Hydra's grammar and interpolation."""
    (word,) = shlex.split(typed)
    setting = OverridesParser.create().parse_override(word)
    config = OmegaConf.create()
    OmegaConf.update(config, setting.key_or_group, setting.value())
    return setting.key_or_group, config.data.path


@pytest.mark.parametrize(
    "path",
    [
        *("a b.npz", "it's", 'say "x"', "'\\'", "a\\", "\\${x}", "é ü.npz", " ", "a\tb"),
        *"a=b.txt a,b.txt $HOME ${x} null 1e3 [x] {a:b} a;b a#b (a) ~/x *".split(),
    ],
)
def test_whatever_a_path_holds_comes_back_when_it_is_pasted(path):
    assert received(typed_setting("data.path", path)) == ("data.path", path)


@given(st.text("ab1 .'\"\\,=${}[]():~#*é", min_size=1))
def test_any_text_comes_back(path):
    assert received(typed_setting("data.path", path)) == ("data.path", path)


def test_plain_paths_stay_plain():
    for path in ("rows.npz", "/data/rows_1.txt", "../x-y/rows.final"):
        assert typed_setting("data.path", path) == f"data.path={path}"


@pytest.mark.parametrize(
    "folder",
    [
        *("it's ${x}, a=b", "a=b", "a,b", "model.rep=8,seed=1", "a b", " a", "a ", "a\tb", "a\nb"),
        *'it\'s "x" a\\b a\\ $HOME ${x} [x] {a:b} (a) a:b null 1e3 ~x a;b a#b é a&b * -x'.split(),
    ],
)
def test_the_command_that_goes_on_with_a_run_is_quoted(monkeypatch, folder):
    folder = f"/data/{folder}"
    hydra = SimpleNamespace(
        job=SimpleNamespace(config_name="train"),
        runtime=SimpleNamespace(output_dir=folder, config_sources=[]),
        overrides=SimpleNamespace(task=["data.path='a b.npz'", "resume=auto"]),
    )
    monkeypatch.setattr(HydraConfig, "get", lambda: hydra)
    monkeypatch.setattr("sys.argv", ["/usr/bin/bidnn"])
    typed = resuming_command()
    printed = subprocess.run(
        ["sh", "-c", f"printf '%s\\0' {typed}"], capture_output=True, check=True, text=True
    )
    *words, typed = printed.stdout.split("\0")[:-1]
    assert words == ["bidnn", "train", "data.path='a b.npz'", "resume=true"]
    parsed = OverridesParser.create().parse_override(typed)
    assert OmegaConf.create({"x": 1, "dir": parsed.value()}).dir == folder


PATHS = (
    "näme.npz it's #5 http://x.org/a?b=1&c=2 a=b rows(1).npz a(b x} a;b é\\ ./run\t{output} a\nb"
)


@pytest.mark.parametrize("path", PATHS.split(" "))
def test_a_text_that_the_grammar_does_not_take_is_quoted_for_whoever_types_it(path):
    quoted = as_text(f"data.path={path}")
    assert quoted != f"data.path={path}"
    assert OverridesParser.create().parse_override(quoted).value() == path
    assert as_text(quoted) == quoted
    (listed,) = for_hydra("tune", [f"data.path={path}"])  # within a list of settings
    assert OverridesParser.create().parse_override(listed).value() == [quoted]


@pytest.mark.parametrize(
    "setting",
    [
        *("seed=1", "optimizer.lr=1e-3", "data.path=null", "data.path='it\\'s'", 'data.path="é"'),
        *("rates=[0.0,0.5]", "model.rep=8,16", "model.rep=range(8,16)", "data.path=${seed}.npz"),
        *("+methods.wide={train: [size=paper]}", "data.path=a b", "data.path=", "~methods.cca"),
        *("data.path=é,b", "data.path=[é]", "data.path=${x}é", 'data.path="é', "é=1", "seed"),
    ],
)
def test_all_else_stays_as_it_is_typed(setting):
    assert as_text(setting) == setting


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("data.path=é,b", "data.path=é,b: text with such characters is put in quotes: "),
        ("data.path=é,b", """: 'data.path="…"'"""),
        ("rates=[é]", """: 'rates=["…","…"]'"""),
        ("+methods.a={b: é}", """: '+methods.a={NAME: "…"}'"""),
        ('data.path="é', "a quote within it with a backslash before it: 'data.path="),
        ("sëed=1", "sëed=1: no such setting as sëed"),
        ("seed", "seed: settings are written KEY=VALUE"),
    ],
)
def test_what_cannot_be_quoted_for_its_writer_says_how(setting, said):
    with pytest.raises(UserError) as error:
        compose_program("train", for_hydra("train", [setting]))
    assert said in str(error.value)
    assert "hydra" not in str(error.value)


def found(file, *settings):
    """The rows that `bidnn search` writes for a command line."""
    hits = file.with_suffix(".jsonl")
    given = for_hydra("search", [str(file), *settings, "k=1", f"output.path={hits}"])
    search.run(typed(compose_program("search", given)))
    return [json.loads(line)["query"] for line in hits.read_text().splitlines()]


def test_rows_are_searched_by_their_names_as_they_are_typed(tmp_path):
    names = ["näme/7", "it's", "#5", "a=b", "1e5", "1.50", "true", "1_000", "null", " pad", "007"]
    vectors = [[1.0, float(number)] for number in range(len(names))]
    texts, numbers = tmp_path / "texts.parquet", tmp_path / "numbers.parquet"
    parquet.write_table(pa.table({"id": names, "embedding": vectors}), texts)
    for name in names:
        _, given = for_hydra("search", [str(texts), f"id={name}"])
        assert OverridesParser.create().parse_override(given).value() == name
    assert found(texts, "id=1_000") == ["1_000"]
    assert found(texts, "id=[007, 1e5,näme/7]") == ["007", "1e5", "näme/7"]
    assert found(texts, """id=["#5",'it\\'s']""") == ["#5", "it's"]
    ids = [1000 + number for number in range(len(names))]
    parquet.write_table(pa.table({"id": ids, "embedding": vectors}), numbers)
    assert found(numbers, "id=1_000") == [1000]
    assert found(numbers, "id=[1001,1002]") == [1001, 1002]
    with pytest.raises(UserError, match="id=1e3: no row of the index is called so"):
        found(numbers, "id=1e3")
