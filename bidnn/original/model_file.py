"""The original program's model files: npz, arr_0 … arr_N, float32, weights (inputs, outputs)."""

import zipfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bidnn.architecture import Activation, Architecture, NetworkConfig
from bidnn.data.formats.arrays import npz_member
from bidnn.errors import UserError
from bidnn.files import readable, whole_file
from bidnn.model.finishing import Centring, Space
from bidnn.model.model import Model
from bidnn.model.scaling import ScalingKind, Transform
from bidnn.network import Direction, Network

TIED, UNTIED = 14, 16


def parameter_order(network: Network) -> list[Tensor]:
    """The network's parameters in the order of the file.

    Tied: encoder W b, centre W b, decoder W b, output W b of first → second; then encoder W b,
    centre b, decoder b, output W b of second → first. Untied: all eight of both.
    """

    def of(direction: Direction) -> list[Tensor | None]:
        layers = (direction.encoder, direction.centre, direction.decoder, direction.output)
        return [values for layer in layers for values in (layer.weight, layer.bias)]

    both = of(network.first_to_second) + of(network.second_to_first)
    return [values for values in both if values is not None]


def original_network(path: Path, model: Model) -> Network:
    """The network of a model that the original's files can hold: weights, and nothing else.

    What stands for a missing modality is said whenever such a file is used, as is the activation.

    Raises:
        UserError: naming the settings that they cannot hold.
    """
    network, scalers = model.network, (model.first_scaler, model.second_scaler)
    config, embedding = network.config, model.finish.config
    settings = [
        ("model", config.architecture, Architecture.bidnn),
        ("model.self_paths", config.self_paths, False),
        ("model.diffusion", config.diffusion, False),
        ("model.output_activation", config.output, config.activation),
        ("scaling", scalers[0].kind, ScalingKind.none),
        *(("scaling.transform", scaler.transform, Transform.none) for scaler in scalers),
        ("embedding.space", embedding.space, Space.centres),
        ("embedding.centring", embedding.centring, Centring.none),
        ("embedding.unit", embedding.unit, False),
        ("embedding.stacked", embedding.stacked, False),
    ]
    beyond = {
        key: getattr(value, "value", value) for key, value, plain in settings if value != plain
    }
    if beyond:
        named = " ".join(
            f"{key}={str(value).replace('True', 'true')}" for key, value in beyond.items()
        )
        raise UserError(
            f"{path}: the original's model files hold weights alone, not {named}; train without, "
            "or save as .pt"
        )
    assert isinstance(network, Network)
    return network


def write_model(path: Path, network: Network) -> None:
    """Writes the model, whole or not at all.

    Raises:
        ValueError: if the network has what the format cannot hold: self paths.
        OSError: if the file cannot be written.
    """
    if network.config.self_paths:
        raise UserError(f"{path}: the original's model files cannot hold self paths")
    with whole_file(path) as file, zipfile.ZipFile(file, "w") as archive:
        for number, values in enumerate(parameter_order(network)):
            array = np.ascontiguousarray(values.detach().float().cpu().numpy().T)
            with npz_member(archive, f"arr_{number}") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def read_model(path: Path, config: NetworkConfig | None = None, *, act: str = "tanh") -> Network:
    """Reads a model file.

    Args:
        path: the file; it holds weights only, so what it was trained with is the caller's to say.
        config: the network that is expected; None takes the sizes from the file.
        act: the activation, if there is no config.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is no such file, or its arrays are of other shapes than expected.
    """
    arrays = _read_arrays(path)
    tied = len(arrays) == TIED
    mod1size, hdn = arrays[0].shape
    mod2size, rep = arrays[6].shape[1], 2 * arrays[2].shape[1]
    if config is None:
        config = NetworkConfig(hdn=hdn, rep=rep, activation=Activation(act), tied=tied)
    if (config.hdn, config.rep, config.tied) != (hdn, rep, tied):
        raise UserError(
            f"{path}: a model with hdn {hdn}, rep {rep}, {'tied' if tied else 'untied'}; expected "
            f"hdn {config.hdn}, rep {config.rep}, {'tied' if config.tied else 'untied'}"
        )
    network = Network(mod1size, mod2size, config)
    for number, (parameter, array) in enumerate(zip(parameter_order(network), arrays, strict=True)):
        if array.T.shape != tuple(parameter.shape):
            raise UserError(
                f"{path}: arr_{number} is {array.shape}, expected {tuple(parameter.shape)[::-1]}"
            )
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(array.T)))
    return network


def _read_arrays(path: Path) -> list[NDArray[np.float32]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such model file")
    kind = "model file of the original"
    with readable(path, kind), path.open("rb") as file:  # np.load leaves a broken archive open
        archive = np.load(file, allow_pickle=False)
        numbers = range(len(set(archive.files)))
        arrays = [np.asarray(archive[f"arr_{number}"], dtype=np.float32) for number in numbers]
    if len(arrays) not in (TIED, UNTIED):
        raise UserError(
            f"{path}: {len(arrays)} arrays; a tied model has {TIED}, an untied one {UNTIED}"
        )
    ranks = [array.ndim for array in arrays]
    weights = {0, 2, 4, 6, 8, 12} if len(arrays) == TIED else set(range(0, UNTIED, 2))
    if ranks != [2 if number in weights else 1 for number in range(len(arrays))]:
        raise UserError(f"{path}: arrays of dimensions {ranks}, not those of a model")
    if not all(np.isfinite(array).all() for array in arrays):
        raise UserError(f"{path}: holds infinities or NaN; the training that wrote it diverged")
    return arrays
