"""A model's file, by its name: `.npz` is the original's format, anything else ours."""

from pathlib import Path

from bidnn.architecture import Activation
from bidnn.errors import UserError
from bidnn.model.finishing import STRATEGIES, MissingStrategy
from bidnn.model.model import Model
from bidnn.model.saved import load_bundle, save_bundle
from bidnn.original.model_file import original_network, read_model, write_model

FOREIGN = (".npy", ".txt", ".parquet", ".h5", ".hdf5", ".mat", ".csv", ".json", ".safetensors")


def save_model(path: Path, model: Model) -> None:
    """Writes a model, whole or not at all.

    Raises:
        UserError: if the name is of another format, or the original's cannot hold the model.
        OSError: if it cannot be written.
    """
    if path.suffix in FOREIGN:
        raise UserError(
            f"{path}: {path.suffix} is another program's format; a model is .pt, or .npz for the "
            "original's program"
        )
    if path.suffix != ".npz":
        save_bundle(path, model)
        return
    if model.missing is not MissingStrategy.duplicate and model.strategies == STRATEGIES:
        raise UserError(
            f"{path}: the original's model files are loaded with missing=duplicate, not "
            f"missing={model.missing.value}; train with that, or save as .pt"
        )
    write_model(path, original_network(path, model))


def load_model(path: Path, act: str) -> Model:
    """Reads a model, into evaluation mode.

    Args:
        path: the file, or a run's folder.
        act: the activation that a model of the original was trained with; its file does not say.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: if it is no model, damaged, or altered.
    """
    if path.suffix != ".npz":
        return load_bundle(path)
    known = [member.value for member in Activation]
    if act not in known:
        raise UserError(f"act={act}: choose one of {', '.join(known)}")
    return Model.of(read_model(path, act=act)).with_missing(MissingStrategy.duplicate).eval()
