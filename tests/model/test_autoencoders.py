"""The autoencoders, against plain NumPy."""

import numpy as np
import pytest
import torch

from bidnn.architecture import Activation, Architecture, NetworkConfig
from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.model.autoencoders import JointAutoencoder
from bidnn.model.finishing import Centring, EmbeddingConfig, MissingStrategy, Space
from bidnn.model.fitting import fit_embedding
from bidnn.model.inference import embed
from bidnn.model.model import Model
from bidnn.model.networks import PairNetwork, build_network
from bidnn.network import Network

KINDS = (Architecture.concat_autoencoder, Architecture.multimodal_autoencoder)


def network(kind, **more):
    torch.manual_seed(0)
    return JointAutoencoder(3, 4, NetworkConfig(hdn=6, rep=4, architecture=kind, **more))


def by_hand(net, first, second):
    def layer(values, linear):
        return values @ linear.weight.detach().numpy().T + linear.bias.detach().numpy()

    if len(net.encoders) == 1:
        hidden = np.tanh(layer(np.hstack([first, second]), net.encoders[0]))
    else:
        hidden = np.hstack(
            [np.tanh(layer(x, e)) for x, e in zip((first, second), net.encoders, strict=True)]
        )
    centre = np.tanh(layer(hidden, net.centre))
    decoded = np.tanh(layer(centre, net.decoder))
    if len(net.outputs) == 1:
        out = layer(decoded, net.outputs[0])
    else:
        out = np.hstack(
            [layer(decoded[:, :6], net.outputs[0]), layer(decoded[:, 6:], net.outputs[1])]
        )
    return centre, out


@pytest.mark.parametrize("kind", KINDS)
def test_both_modalities_are_decoded_from_one_centre(kind):
    net = network(kind, output_activation=Activation.linear).eval()
    generator = np.random.default_rng(0)
    first = generator.normal(size=(5, 3)).astype(np.float32)
    second = generator.normal(size=(5, 4)).astype(np.float32)
    with torch.no_grad():
        outputs = net(torch.from_numpy(first), torch.from_numpy(second))
        guess = net.translate(first=torch.from_numpy(first)).numpy()
    centre, out = by_hand(net, first, second)
    found = torch.cat([outputs.first, outputs.second], dim=1).numpy()
    np.testing.assert_allclose(found, out, atol=1e-5)
    both = torch.cat([outputs.first_centre, outputs.second_centre], dim=1).numpy()
    np.testing.assert_allclose(both, centre, atol=1e-6)
    expected = by_hand(net, first, np.zeros_like(second))[1][:, 3:]
    np.testing.assert_allclose(guess, expected, atol=1e-5)


def test_the_multimodal_one_zeroes_at_most_one_modality_of_a_row_in_training():
    net = network(Architecture.multimodal_autoencoder, dropout=0.0).train()
    seen = []
    net.encoders[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    net.encoders[1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    net(torch.ones(3000, 3), torch.ones(3000, 4))
    shown = torch.stack([part[:, 0] for part in seen], dim=1)
    assert (shown.sum(dim=1) >= 1).all()
    np.testing.assert_allclose(shown.mean(dim=0), [2 / 3, 2 / 3], atol=0.04)


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_modality_is_zero_at_the_input_of_the_centre(kind):
    torch.manual_seed(0)
    model = Model(3, 4, NetworkConfig(hdn=6, rep=4, architecture=kind)).eval()
    first = np.ones((3, 3), dtype=np.float32)
    second = np.full((3, 4), 2, dtype=np.float32)
    present = np.array([[True, True], [True, False], [False, False]])
    found = embed(model, PairStore(first, second, present))
    expected = by_hand(model.network, first, second * present[:, [1]])[0]
    np.testing.assert_allclose(found[:2], expected[:2], atol=1e-6)
    assert not found[2].any()


@pytest.mark.parametrize("architecture", list(Architecture))
def test_every_architecture_answers_what_a_model_asks(architecture):
    net = build_network(3, 4, NetworkConfig(hdn=6, rep=4, architecture=architecture)).eval()
    assert isinstance(net, PairNetwork)
    assert isinstance(net, torch.nn.Module)
    assert (net.mod1size, net.mod2size, net.config.architecture) == (3, 4, architecture)
    first, second = torch.randn(5, 3), torch.randn(5, 4)
    present = torch.tensor([[1, 1], [1, 0], [0, 1], [0, 0], [1, 1]]).bool()
    outputs, centres = net(first, second), net.centres(first, second, present)
    assert outputs.first.shape == (5, 3)
    assert outputs.second.shape == (5, 4)
    assert net.translate(first=first).shape == (5, 4)
    assert net.translate(second=second).shape == (5, 3)
    both = torch.cat([outputs.first_centre, outputs.second_centre], dim=1)
    torch.testing.assert_close(centres[[0, 4]], both[[0, 4]])
    assert not centres[3].any()
    other = torch.where(present[:, 1:], second, 9.0)  # what is not present is not looked at
    torch.testing.assert_close(net.centres(first, other, present)[:2], centres[:2])


def test_the_way_to_stand_for_what_is_missing_has_no_say_over_an_autoencoder():
    torch.manual_seed(0)
    config = NetworkConfig(hdn=6, rep=4, architecture=KINDS[0])
    embedding = EmbeddingConfig(centring=Centring.presence)
    model = Model(3, 4, config, embedding=embedding)
    values = np.random.default_rng(0).normal(size=(9, 7)).astype(np.float32)
    present = np.ones((9, 2), dtype=bool)
    present[0, 0] = present[1, 1] = False
    store = PairStore(values[:, :3], values[:, 3:], present)
    fit_embedding(model, store, store.complete)
    assert model.strategies == (MissingStrategy.translate,)
    with pytest.raises(UserError, match="missing=duplicate changes nothing"):
        model.with_missing(MissingStrategy.duplicate)


def test_what_an_autoencoder_does_not_have_is_refused():
    for kind in KINDS:
        for more in ({"tied": False}, {"self_paths": True}):
            with pytest.raises(ValueError, match=kind.value):
                network(kind, **more)
        config = NetworkConfig(hdn=6, rep=4, architecture=kind)
        with pytest.raises(ValueError, match=r"embedding\.space=inputs"):
            Model(3, 4, config, embedding=EmbeddingConfig(space=Space.inputs))
    assert isinstance(build_network(3, 4, NetworkConfig(hdn=6, rep=4)), Network)
