"""Checkpoints that were damaged or altered are refused in one line, before they take memory."""

import zipfile

import pytest
import torch

from bidnn import load
from bidnn.errors import UserError
from bidnn.model.saved import load_bundle, read_checkpoint, save_bundle
from bidnn.training.callbacks.checkpoints import WholeCheckpoints
from tests.programs.running import TINY, refused, succeed
from tests.test_files import model
from tests.test_load import memory

WEIGHT = "model.network.first_to_second.encoder.weight"
GIGABYTE = 2**30


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "model.pt"
    save_bundle(path, model())
    return path


def alter(path, change=lambda weight: weight, network=None, **described):
    """Changes one weight, and what the model says of itself."""
    content = torch.load(path, weights_only=True)
    content["state_dict"][WEIGHT] = change(content["state_dict"][WEIGHT])
    content["hyper_parameters"] |= described
    content["hyper_parameters"]["network"] |= network or {}
    torch.save(content, path)


def put(path, name, data, how=zipfile.ZIP_STORED):
    """Replaces a part of the archive."""
    with zipfile.ZipFile(path) as archive:
        parts = {part: archive.read(part) for part in archive.namelist()}
    (key,) = (part for part in parts if part.endswith(name))
    with zipfile.ZipFile(path, "w", how) as archive:
        for part, content in (parts | {key: data}).items():
            archive.writestr(part, content)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(path, value):
    alter(path, lambda weight: weight.index_fill(0, torch.tensor([2]), value))
    with pytest.raises(UserError, match=r"model\.pt: .*encoder\.weight holds infinities or NaN"):
        load(path)


@pytest.mark.parametrize(
    "change",
    [
        *(lambda w, kind=kind: w.to(kind) for kind in (torch.complex64, torch.int64, torch.bool)),
        *(torch.Tensor.to_sparse, torch.Tensor.to_sparse_csr, lambda w: w.to("meta")),
        lambda w: torch.zeros(1).expand(w.shape),
    ],
)
@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
def test_tensors_of_an_odd_kind_are_refused(path, change):
    alter(path, change)
    with pytest.raises(UserError, match=r"one floating-point number for each place"):
        load_bundle(path)


@pytest.mark.parametrize(
    ("described", "change"),
    [
        ({"mod1size": 10**9}, None),
        ({"network": {"hdn": 10**14}}, None),
        ({"network": {"hdn": 10**30}}, None),
        ({"mod1size": 10**9}, lambda w: torch.zeros(1).expand(6, 10**9)),
    ],
)
def test_what_claims_to_be_huge_takes_no_memory(path, described, change):
    alter(path, change or (lambda weight: weight), **described)
    before = memory()
    with pytest.raises(UserError, match=r"model\.pt: "):
        load_bundle(path)
    assert memory() - before < GIGABYTE // 8


def test_a_bomb_is_refused_before_it_is_unpacked(path):
    put(path, "data.pkl", b"\x80\x02c__builtin__\nbytearray\nJ\x00\x00\x00\x40\x85R.")
    before = memory()
    with pytest.raises(UserError, match="bytearray"):
        load_bundle(path)
    put(path, "data.pkl", bytes(2**27), zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match="claims to hold more than the file does"):
        load_bundle(path)
    assert memory() - before < GIGABYTE // 8


def test_one_changed_bit_of_a_weight_is_damage(path):
    content = bytearray(path.read_bytes())
    weight = torch.load(path, weights_only=True)["state_dict"][WEIGHT].numpy().tobytes()
    content[content.index(weight)] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"model\.pt: .* part .*data/.* is damaged"):
        load_bundle(path)


def test_a_checkpoint_to_resume_must_be_of_a_training(path):
    with pytest.raises(UserError, match=r"model\.pt: no checkpoint of a training .* no loops"):
        WholeCheckpoints().load_checkpoint(path)
    torch.save([1], path)
    with pytest.raises(UserError, match="no checkpoint of a training"):
        WholeCheckpoints().load_checkpoint(path)


@pytest.mark.slow
def test_resuming_from_a_damaged_or_altered_checkpoint_is_refused_in_one_line(tmp_path):
    run = (*TINY, "callbacks.report=null", f"hydra.run.dir={tmp_path / 'run'}")
    succeed("scripts/train.py", *run)
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    whole = last.read_bytes()
    more = ("resume=true", "trainer.max_epochs=3")
    damaged = bytearray(whole)
    weight = torch.load(last, weights_only=True)["state_dict"][WEIGHT].numpy().tobytes()
    damaged[whole.index(weight)] ^= 1
    for content in (b"", b"text", whole[: len(whole) // 2], bytes(damaged)):
        last.write_bytes(content)
        assert "last.ckpt" in refused("scripts/train.py", *run, *more)
    last.write_bytes(whole)
    state = read_checkpoint(last)
    for change in (
        lambda weights: weights.pop(WEIGHT),
        lambda weights: weights.update({WEIGHT: torch.ones(2, 2)}),
        lambda weights: weights.update({WEIGHT: weights[WEIGHT] * float("nan")}),
    ):
        weights = dict(state["state_dict"])
        change(weights)
        torch.save(state | {"state_dict": weights}, last)
        assert WEIGHT in refused("scripts/train.py", *run, *more)
    last.write_bytes(whole)
    succeed("scripts/train.py", *run, *more)
