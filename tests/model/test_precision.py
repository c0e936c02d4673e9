"""Weights of any precision, and devices that do not have all of them."""

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from bidnn.architecture import Architecture, NetworkConfig
from bidnn.data.store import PairStore
from bidnn.model.finishing import Centring, EmbeddingConfig, Space
from bidnn.model.fitting import fit_embedding, solve_translations
from bidnn.model.inference import OutputKind, embed, infer
from bidnn.model.model import Model
from bidnn.model.scaling import ScalingConfig, ScalingKind, fit_scaling

TOLERANCES = {torch.float64: 1e-5, torch.bfloat16: 0.1, torch.float16: 0.02}


@pytest.fixture
def store():
    generator = np.random.default_rng(0)
    first = generator.normal(2, 3, size=(40, 3)).astype(np.float32)
    second = generator.normal(size=(40, 4)).astype(np.float32)
    present = np.ones((40, 2), dtype=bool)
    present[:5, 0], present[5:10, 1], present[10] = False, False, False
    return PairStore(first, second, present)


def trained(store, architecture, scaling, embedding):
    torch.manual_seed(0)
    network = NetworkConfig(hdn=6, rep=4, architecture=architecture)
    model = Model(3, 4, network, ScalingConfig(kind=scaling), EmbeddingConfig(**embedding))
    fit_scaling((model.first_scaler, model.second_scaler), store, np.arange(40))
    return model


@pytest.mark.parametrize("kind", list(TOLERANCES))
@pytest.mark.parametrize("scaling", [ScalingKind.standard, ScalingKind.unit])
@pytest.mark.parametrize(
    ("architecture", "embedding"),
    [
        (Architecture.bidnn, {"centring": Centring.presence, "unit": True}),
        (Architecture.bidnn, {"space": Space.inputs}),
        (Architecture.concat_autoencoder, {"centring": Centring.complete}),
    ],
)
def test_weights_of_another_precision_give_the_same_rows_as_float32(
    store, architecture, embedding, scaling, kind
):
    model = trained(store, architecture, scaling, embedding)
    fit_embedding(model, store, store.complete)
    expected = embed(model, store)
    [plain] = infer(model, store, OutputKind.crossmodal)
    model.to(kind)
    fit_embedding(model, store, store.complete)
    found = embed(model, store)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=TOLERANCES[kind])
    assert not found[10].any()
    [filled] = infer(model, store, OutputKind.crossmodal, l2_norm=False)
    for own, others, given, there in (
        (filled.left, plain.left, store.first, store.present[:, 0]),
        (filled.right, plain.right, store.second, store.present[:, 1]),
    ):
        assert own.dtype == np.float32
        np.testing.assert_array_equal(own[there], given[there])  # as it came, not rounded
        np.testing.assert_allclose(own, others, atol=4 * TOLERANCES[kind])
    [unit] = infer(model, store, OutputKind.crossmodal, l2_norm=True)
    lengths = np.linalg.norm(np.hstack([unit.left, unit.right]), axis=1)
    np.testing.assert_allclose(np.delete(lengths, 10), 1, atol=1e-6)


def test_features_beyond_float16_are_scaled_before_they_are_rounded(store):
    large = PairStore(store.first * 1e6, store.second, store.present)
    model = trained(large, Architecture.bidnn, ScalingKind.standard, {})
    expected = embed(model, large)
    model.network.half()
    np.testing.assert_allclose(embed(model, large), expected, atol=0.02)


class WithoutDouble(TorchFunctionMode):
    """A device, played by the CPU, that cannot hold float64, as Apple's: move first, then widen."""

    def __init__(self):
        super().__init__()
        self.moved, self.widened = set(), 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        asked = [*args[1:], *kwargs.values()]
        if func is torch.Tensor.double or (func is torch.Tensor.to and torch.float64 in asked):
            if id(args[0]) not in self.moved and args[0].dtype != torch.float64:
                raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
            self.widened += 1
        found = func(*args, **kwargs)
        if func is torch.Tensor.cpu:
            found = found.clone()
            self.moved.add(id(found))
        return found


def test_an_embedding_is_fitted_on_a_device_without_double_precision(store):
    embedding = {"centring": Centring.presence, "whitening": 0.5}
    model = trained(store, Architecture.bidnn, ScalingKind.standard, embedding)
    device = WithoutDouble()
    with device:
        fit_embedding(model, store, store.complete)
    assert device.widened == 5  # complete rows, and by strategy those with one modality
    assert embed(model, store).std() > 0


def test_translations_are_stacked_on_a_device_without_double_precision(store):
    model = trained(store, Architecture.bidnn, ScalingKind.standard, {"stacked": True})
    device = WithoutDouble()
    with device:
        solve_translations(model, store, store.complete)
    assert device.widened
    assert model.stacked.rows == len(store.complete)
    assert torch.isfinite(model.stacked.regression(torch.zeros(1, 3), 1)).all()
