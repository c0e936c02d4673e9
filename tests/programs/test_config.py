"""Every file of conf/ composes; what is mistyped is refused."""

import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bidnn.data.sources import NpySource, NpzSource
from bidnn.errors import UserError
from bidnn.model.outputs import OutputConfig, output_path
from bidnn.programs import convert, embed
from bidnn.programs.config import (
    CONF,
    PROGRAMS,
    CompareConfig,
    ConvertConfig,
    EmbedConfig,
    ExportConfig,
    register,
)
from bidnn.programs.messages import one_line
from bidnn.programs.settings import compose_program, compose_training, typed

CHOICES = sorted(f"{path.parent.name}={path.stem}" for path in CONF.glob("*/*.yaml"))


def composed(name, *overrides):
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return OmegaConf.to_object(compose(name, [*overrides, "run_dir=somewhere"]))


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_composes_into_the_typed_configuration(choice):
    needs = {"loss=self": ["model.self_paths=true"], "loss=incomplete": ["model.self_paths=true"]}
    program = "tune" if choice.startswith("space=") else "train"
    assert isinstance(composed(program, choice, *needs.get(choice, [])), PROGRAMS[program])


def test_the_other_programs_compose_too():
    assert isinstance(composed("embed", "data=npz", "checkpoint=x"), EmbedConfig)
    assert isinstance(composed("compare"), CompareConfig)


@pytest.mark.parametrize(
    ("program", "overrides", "said"),
    [
        ("search", [], "file is not given; bidnn search FILE id=ID, or checkpoint=RUN with data=…"),
        ("index", ["add=x.npz"], "file is not given; bidnn index FILE"),
        ("export", ["onnx=x"], "checkpoint is not given; bidnn export RUN pretrained=FOLDER, or"),
        ("embed", ["data=npz"], "checkpoint is not given; bidnn embed checkpoint=RUN data=…"),
        ("convert", ["data=npz"], "output.path is not given; add output.path=…"),
        ("embed", ["checkpoint=x"], "data is not given; data=… with one of arrays, digits, embed"),
    ],
)
def test_what_a_program_cannot_do_without_is_named_with_its_call(program, overrides, said):
    with pytest.raises((UserError, OmegaConfBaseException)) as caught:
        OmegaConf.to_object(compose_program(program, overrides))
    assert one_line(caught.value).startswith(said)
    assert "_schema" not in one_line(caught.value)


def test_rows_are_replaced_only_where_some_are_added():
    with pytest.raises(UserError, match=r"replace=true: needs add=FILE"):
        typed(compose_program("index", ["file=e.parquet", "replace=true"]))


def test_the_default_is_the_paper_but_for_missing_modalities():
    config = composed("train")
    assert config.model.tied
    assert config.model.activation.value == "tanh"
    assert (config.model.hdn, config.model.rep, config.model.dropout) == (256, 128, 0.2)
    assert (config.optimizer.lr, config.optimizer.momentum) == (0.1, 0.9)
    assert config.optimizer.nesterov
    assert config.loss.weighting.value == "components"
    assert config.scaling.kind.value == "none"
    assert config.embedding.missing.value == "translate"
    assert config.data.batch_size == 128


def test_the_paper_duplicates_what_is_missing():
    assert composed("train", "experiment=paper").embedding.missing.value == "duplicate"


@pytest.mark.parametrize(
    "override",
    [
        "model.hdm=3",
        "model.hdn=abc",
        "model.tied=perhaps",
        "activation=tan",
        "data=csv",
        "seed=one",
        "scaling.kind=standart",
        "output.kind=embeddings",
        "data.mod1size=3",
    ],
)
def test_what_is_mistyped_is_refused(override):
    with pytest.raises((HydraException, OmegaConfBaseException)):
        composed("train", override)


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("model.rep=7", "model.rep=7"),
        ("model.dropout=1.0", "model.dropout"),
        ("seed=-1", "seed"),
        ("optimizer.momentum=1", "optimizer.momentum"),
        ("optimizer.lr=0", "optimizer.lr"),
        ("output.every_n_epochs=-1", "output.every_n_epochs"),
        ("output.timeout_s=0", "output.timeout_s"),
        ("loss.self_weight=1", "loss.self_weight"),
        ("loss.incomplete_rows=true", "loss.self_weight"),
        ("loss.self_weight=0.5", "model.self_paths=false"),
        ("model.self_paths=true", "model.self_paths=true"),
        ("embedding.whitening=0.5", "embedding.centring"),
        ("data.batch_size=0", "data.batch_size=0: must be at least 1"),
        ("data.val_fraction=1", "data.val_fraction=1.0: must be in"),
        ("data.missing_rate=-1", "data.missing_rate=-1.0: a share"),
        ("output.path=x.h5", "output.path=x.h5: .h5 is not written"),
    ],
)
def test_what_is_out_of_range_is_refused_by_name(override, key):
    with pytest.raises(ValueError, match=key.replace(".", r"\.")):
        composed("train", override)


def test_every_program_refuses_what_is_out_of_range():
    with pytest.raises(ValueError, match=r"data\.batch_size=-4: must be at least 1"):
        composed("embed", "data=npz", "checkpoint=x", "data.batch_size=-4")


@pytest.mark.parametrize(
    ("source", "keys"),
    [
        (
            NpySource(val_first="a", val_second="b"),
            "data.val_first and data.val_second: no meaning",
        ),
        (NpySource(val_second="b"), "data.val_second: no meaning"),
        (NpzSource(val_path="a", val_fraction=0.5), "data.val_fraction and data.val_path: no mean"),
    ],
)
def test_programs_that_do_not_train_refuse_what_to_validate_on(source, keys, tmp_path):
    path = str(tmp_path / "out.npz")
    with pytest.raises(ValueError, match=keys):
        convert.run(ConvertConfig(data=source, output=ExportConfig(path=path)))
    with pytest.raises(ValueError, match=keys):
        embed.run(EmbedConfig(checkpoint="x", data=source, output=OutputConfig(path=path)))


def test_a_key_added_with_a_plus_is_refused_as_well():
    with pytest.raises(AttributeError, match="hdm"):
        composed("train", "+model.hdm=1")


def test_every_experiment_says_what_it_is_and_how_it_is_run():
    for path in (CONF / "experiment").glob("*.yaml"):
        text = path.read_text()
        assert text.startswith("# @package _global_\n# "), path
        assert f"experiment={path.stem}" in text, path


def test_the_everyday_settings_are_settings():
    text = (CONF.parent / "docs" / "training.md").read_text()
    table = text.split("## Everyday settings")[1].split("\n\n")[1]
    rows = [line.split("|")[1] for line in table.splitlines()[2:]]
    assert len(rows) > 10
    for row in rows:
        for shown in re.findall(r"`([^`]+)`", row):
            settings = [part for part in shlex.split(shown) if "hydra" not in part]
            if "…" not in shown:
                composed("train", *settings)


def test_a_runs_folder_whose_name_would_be_an_epoch_is_refused():
    here = {"run_dir": "runs/x%ey", "output.path": "runs/x%ey/out_%e.npz"}
    with pytest.raises(UserError, match=r"hydra\.run\.dir=runs/x%ey: %e in it"):
        compose_training(["data=digits"], here)
    config = compose_training(["data=digits"], {**here, "output.path": "out_%e.npz"})
    assert output_path(config.output, 3) == Path("out_00003.npz")
