"""Settings that a program prints for its user to paste."""

import shlex
import subprocess
from types import SimpleNamespace

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from bidnn.programs.processes import resuming_command
from bidnn.programs.quoting import typed_setting


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
