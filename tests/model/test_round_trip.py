"""A saved model is the same model, whatever it is made of."""

import itertools

import numpy as np
import pytest
import torch

from bidnn.architecture import Architecture, NetworkConfig
from bidnn.data.store import PairStore
from bidnn.model.finishing import Centring, EmbeddingConfig, MissingStrategy, Space
from bidnn.model.fitting import fit_embedding
from bidnn.model.inference import OutputKind, embed, infer
from bidnn.model.model import Model
from bidnn.model.saved import load_bundle, save_bundle
from bidnn.model.scaling import ScalingConfig, ScalingKind, fit_scaling


@pytest.fixture(scope="module")
def store():
    generator = np.random.default_rng(0)
    first = generator.normal(2, 3, size=(30, 3)).astype(np.float32)
    second = generator.normal(size=(30, 4)).astype(np.float32)
    present = np.ones((30, 2), dtype=bool)
    present[:5, 0], present[5:10, 1], present[10] = False, False, False
    return PairStore(first, second, present)


def trained(store, network, scaling, embedding):
    torch.manual_seed(1)
    config = NetworkConfig(hdn=5, rep=4, **network)
    model = Model(3, 4, config, ScalingConfig(kind=scaling), EmbeddingConfig(**embedding))
    fit_scaling((model.first_scaler, model.second_scaler), store, np.arange(30))
    fit_embedding(model, store, store.complete)
    return model.eval()


def refused(architecture, tied, space):
    """What no model can be: test_autoencoders.py has the refusals."""
    return architecture is not Architecture.bidnn and (not tied or space is not Space.centres)


@pytest.mark.parametrize("architecture", list(Architecture))
@pytest.mark.parametrize("missing", list(MissingStrategy))
def test_a_saved_model_predicts_the_same_bytes_in_every_combination(
    store, tmp_path, architecture, missing
):
    path, tried = tmp_path / "model.pt", 0
    for space, centring, tied, scaling in itertools.product(
        Space, Centring, (True, False), ScalingKind
    ):
        if refused(architecture, tied, space):
            continue
        even = {} if centring is Centring.none else {"whitening": 0.5, "unit": True}
        embedding = {"missing": missing, "space": space, "centring": centring, **even}
        network = {
            "architecture": architecture,
            "tied": tied,
            "diffusion": space is Space.diffusion,
        }
        model = trained(store, network, scaling, embedding)
        save_bundle(path, model)
        found = load_bundle(path)
        assert found.finish.config == model.finish.config
        for kind in OutputKind:
            [own], [again] = list(infer(model, store, kind)), list(infer(found, store, kind))
            assert own.left.tobytes() == again.left.tobytes()
            assert own.right.tobytes() == again.right.tobytes()
        for strategy in model.strategies:
            expected = embed(model.with_missing(strategy), store)
            np.testing.assert_array_equal(embed(found.with_missing(strategy), store), expected)
        tried += 1
    assert tried == (90 if architecture is Architecture.bidnn else 15)


@pytest.mark.parametrize("centring", [Centring.complete, Centring.presence])
def test_a_model_seen_with_the_other_strategy_has_that_strategys_statistics(store, centring):
    settings = {"centring": centring, "whitening": 0.5}
    models = {
        missing: trained(store, {}, ScalingKind.standard, {"missing": missing, **settings})
        for missing in MissingStrategy
    }
    for own, other in itertools.permutations(MissingStrategy):
        seen = models[own].with_missing(other)
        np.testing.assert_array_equal(embed(seen, store), embed(models[other], store))
        assert models[own].finish.config.missing is own
        assert seen.network is models[own].network


def test_a_model_of_the_first_format_is_refused_with_the_way_out(store, tmp_path):
    path = tmp_path / "old.pt"
    save_bundle(path, trained(store, {}, ScalingKind.none, {}))
    content = torch.load(path, weights_only=True)
    missing = content["hyper_parameters"]["embedding"].pop("missing")
    content["hyper_parameters"]["missing"] = missing
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"old\.pt: .*earlier version.*train it again"):
        load_bundle(path)
