"""The network against the reference in NumPy, and its symmetries."""

import math

import numpy as np
import pytest
import torch

from bidnn.architecture import Activation, NetworkConfig
from bidnn.network import Network, mask_inputs
from bidnn.original.model_file import parameter_order
from tests.reference import ACTIVATIONS, Reference

M1, M2, H, R = 5, 7, 6, 8


def network(**more):
    torch.manual_seed(0)
    net = Network(M1, M2, NetworkConfig(**{"hdn": H, "rep": R, **more})).double()
    for parameter in net.parameters():
        if parameter.ndim == 1:  # biases of zero would hide mistakes
            torch.nn.init.uniform_(parameter, -0.5, 0.5)
    return net


def reference(net):
    arrays = [values.detach().numpy().T for values in parameter_order(net)]
    output = net.config.output_activation
    return Reference(arrays, net.config.activation.value, output and output.value)


def rows():
    generator = np.random.default_rng(0)
    return generator.normal(size=(9, M1)), generator.normal(size=(9, M2))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("activation", list(Activation))
@pytest.mark.parametrize("output", [None, Activation.linear, Activation.sigmoid])
def test_it_is_the_reference(tied, activation, output):
    net = network(tied=tied, activation=activation, output_activation=output).eval()
    first, second = rows()
    expected = reference(net)
    one, two = expected.run(first, 0), expected.run(second, 1)
    with torch.no_grad():
        outputs = net(torch.from_numpy(first), torch.from_numpy(second))
        translated = net.translate(second=torch.from_numpy(second))
    np.testing.assert_allclose(outputs.first_centre, one[2], atol=1e-12)
    np.testing.assert_allclose(outputs.second_centre, two[2], atol=1e-12)
    np.testing.assert_allclose(outputs.second, one[4], atol=1e-12)
    np.testing.assert_allclose(outputs.first, two[4], atol=1e-12)
    np.testing.assert_array_equal(translated, outputs.first)


def test_central_weights_exist_once_when_tied_and_twice_when_not():
    def size(net):
        return sum(p.numel() for p in net.parameters())

    outer, centre = 2 * (M1 + M2) * H, 2 * H * R // 2
    biases = 2 * (2 * H + R // 2) + M1 + M2
    assert size(network(tied=True)) == outer + centre + biases
    assert size(network(tied=False)) == outer + 2 * centre + biases


@pytest.mark.parametrize("tied", [True, False])
def test_swapping_modalities_and_directions_swaps_the_outputs(tied):
    net = network(tied=tied).eval()
    swapped = Network(M2, M1, net.config).double().eval()
    with torch.no_grad():
        for own, other in (
            (swapped.first_to_second, net.second_to_first),
            (swapped.second_to_first, net.first_to_second),
        ):
            encoding, decoding = net._central_weights(other)
            for layer in ("encoder", "output"):
                getattr(own, layer).weight.copy_(getattr(other, layer).weight)
            for layer in ("encoder", "centre", "decoder", "output"):
                getattr(own, layer).bias.copy_(getattr(other, layer).bias)
            if own.centre.weight is not None:
                own.centre.weight.copy_(encoding)
                own.decoder.weight.copy_(decoding)
        first, second = (torch.from_numpy(part) for part in rows())
        one, two = net(first, second), swapped(second, first)
    torch.testing.assert_close(one.first, two.second)
    torch.testing.assert_close(one.second, two.first)
    torch.testing.assert_close(one.first_centre, two.second_centre)


def test_a_self_path_decodes_with_the_weights_of_the_direction_that_ends_there():
    net = network(self_paths=True).eval()
    first, second = rows()
    with torch.no_grad():
        outputs = net(torch.from_numpy(first), torch.from_numpy(second))
    arrays = {name: values.detach().numpy() for name, values in net.named_parameters()}
    a, b = arrays["first_to_second.centre.weight"], arrays["first_to_second.decoder.weight"]
    hidden = np.tanh(outputs.first_centre.numpy() @ a + arrays["first_self.decoder"])
    expected = np.tanh(
        hidden @ arrays["second_to_first.output.weight"].T + arrays["first_self.output"]
    )
    np.testing.assert_allclose(outputs.first_self, expected, atol=1e-12)
    hidden = np.tanh(outputs.second_centre.numpy() @ b.T + arrays["second_self.decoder"])
    expected = np.tanh(
        hidden @ arrays["first_to_second.output.weight"].T + arrays["second_self.output"]
    )
    np.testing.assert_allclose(outputs.second_self, expected, atol=1e-12)


def test_dropout_acts_on_the_centre_only_in_training_only_and_is_inverted():
    net = network(dropout=0.25, activation=Activation.linear)
    first, second = (torch.from_numpy(part) for part in rows())
    dropped = net.train()._drop(torch.ones(20000, 4))
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)
    centre = net(first, second).first_centre
    assert torch.equal(centre, net.eval()(first, second).first_centre)
    assert torch.equal(net.eval()._drop(dropped), dropped)
    assert not torch.equal(net.train()(first, second).second, net.eval()(first, second).second)


def test_input_masking_zeroes_a_share_and_leaves_the_rest_as_it_is():
    masked = mask_inputs(torch.full((200, 100), 3.0), 0.3)
    assert set(masked.unique().tolist()) == {0.0, 3.0}
    assert (masked == 0).float().mean().item() == pytest.approx(0.3, abs=0.02)
    net = network(input_dropout=0.9, dropout=0.0)
    first, second = (torch.from_numpy(part) for part in rows())
    assert torch.equal(net.eval()(first, second).first, net.translate(second=second))
    assert not torch.equal(net.train()(first, second).first, net.eval()(first, second).first)


def test_weights_are_glorot_uniform_and_biases_zero():
    net = Network(300, 200, NetworkConfig(hdn=100, rep=40))
    weight = net.first_to_second.encoder.weight.detach()
    bound = math.sqrt(6 / 400)
    assert weight.abs().max() <= bound
    assert weight.abs().max() > 0.99 * bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    for name, parameter in net.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any()


def test_activations_are_what_they_are_called_and_stay_within_their_reach():
    values = torch.linspace(-30, 30, 101, dtype=torch.float64)
    for activation in Activation:
        found = activation.function(values).numpy()
        np.testing.assert_allclose(
            found, ACTIVATIONS[activation.value][0](values.numpy()), atol=1e-12
        )
        low, high = activation.reach
        assert low <= found.min()
        assert found.max() <= high
    assert Activation.tanh.reach == (-1, 1)
    assert Activation.sigmoid.reach == (0, 1)
    assert Activation.relu.reach == (0, math.inf)


def test_what_no_network_can_be_built_from_is_refused():
    for key, value in (
        ("rep", 7),
        ("rep", 0),
        ("hdn", 0),
        ("dropout", 1.0),
        ("input_dropout", -0.1),
    ):
        with pytest.raises(ValueError, match=rf"model\.{key}={value}"):
            network(**{key: value})
    with pytest.raises(ValueError, match=r"must be even, and at least 2; use 2$"):
        network(rep=-2)
    with pytest.raises(ValueError, match=r"must be even; use 8$"):
        network(rep=7)
    with pytest.raises(ValueError, match="both modalities need columns"):
        Network(0, 3, NetworkConfig(hdn=2, rep=2))
    net = network()
    first, second = (torch.from_numpy(part) for part in rows())
    for given in ({}, {"first": first, "second": second}):
        with pytest.raises(TypeError, match="either first= or second="):
            net.translate(**given)
