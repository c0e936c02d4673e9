"""What a run is called, and its hyper-parameters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidnn.training.given import LONGEST, Given


@pytest.mark.parametrize(
    ("overrides", "swept", "label"),
    [
        ([], [], ""),
        (["hydra.run.dir=x", "logger=csv", "output.path=x", "~callbacks.report"], [], ""),
        (["model.rep=64", "optimizer.lr=0.1"], [], "rep=64,lr=0.1"),
        (["seed=1", "model.rep=64", "optimizer.lr=0.1"], ["optimizer.lr"], "lr=0.1"),
        (["loss=incomplete", "+loss.alignment=0.1"], [], "loss=incomplete,alignment=0.1"),
        (["data=npz", "data.path='/a b/c d.npz'"], [], "data=npz,path=c_d.npz"),
        (["data.first=x", "experiment.first=y"], [], "data.first=x,experiment.first=y"),
        (["output.kind=crossmodal"], ["output.kind"], "kind=crossmodal"),
        (["data.first_shape=[4,8]", "data.columns=[a,b]"], [], "columns=_a_b_"),
        (
            [f"model.x{n}=123456789" for n in range(9)],
            [],
            ",".join([*(f"x{n}=123456789" for n in range(6)), "+3"]),
        ),
    ],
)
def test_a_run_is_named_by_what_was_set_or_what_is_swept(overrides, swept, label):
    assert Given.of(overrides, swept).label == label


@given(st.lists(st.tuples(st.text("abc._/", min_size=1), st.text()), max_size=12))
def test_a_name_is_always_safe_for_files(pairs):
    label = Given(dict(pairs)).label
    assert len(label) <= LONGEST + 4
    assert not set(label) & set('/\\:*?"<>| \n\0')
    assert label not in (".", "..")


def test_hyper_parameters_are_numbers_and_text_and_what_is_swept_comes_first():
    chosen = Given.of(
        ["data.path=/x/y.npz", "data.val_fraction=null", "model.tied=true", "model.rep=64", "a=b"],
        ["model.rep"],
    )
    settings = {"model.rep": 64, "model.tied": True, "data.val_fraction": None, "other": 1}
    settings["data.path"] = "/x/y.npz"
    found = chosen.hyper_parameters(settings)
    assert list(found.items()) == [
        *[("model.rep", 64), ("data.path", "y.npz"), ("data.val_fraction", "None")],
        *[("model.tied", "true"), ("a", "b")],
    ]
