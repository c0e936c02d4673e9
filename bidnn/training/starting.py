"""What a training begins with: which rows train and which validate, and the model before a step."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from bidnn.architecture import Architecture
from bidnn.data.datamodule import PairDataModule
from bidnn.data.remote import with_local_files
from bidnn.data.sources import read_alike
from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.memory import check_memory
from bidnn.model.inference import check_sizes
from bidnn.model.model import Model
from bidnn.model.saved import check_settings, load_bundle
from bidnn.model.scaling import fit_scaling
from bidnn.original.model_file import read_model
from bidnn.training.config import TrainConfig

COPIES = 3
"""Of the weights in a training, at the least: themselves, gradients, and the optimiser's."""
HELD_OF, HELD_MOST = 20, 1000
"""One complete row of how many is held out, and how many at most."""


def pair_data(
    config: TrainConfig, store: PairStore, validation: PairStore | None = None
) -> PairDataModule:
    """Splits the rows into those that train and those that validate, which may be others."""
    source, other = config.data, validation
    if other is None:
        local = read_alike(with_local_files(source, validation=True), store.reading)
        other = local.open_validation((store.mod1size, store.mod2size))
    source.check_shapes((store.mod1size, store.mod2size))
    data = PairDataModule(
        store,
        batch_size=source.batch_size,
        seed=config.seed,
        trains=config.trainer.trains,
        incomplete_rows=config.loss.incomplete_rows,
        shuffle=source.shuffle,
        val_fraction=share_held(source.val_fraction, store, other=other is not None),
        val_store=other,
    )
    data.shapes = source.first_shape, source.second_shape
    return data


def share_held(asked: float | None, store: PairStore, *, other: bool) -> float:
    """The share of the complete rows that is held out.

    Args:
        asked: what the settings say; None: a twentieth, at most 1000 rows, where that is at least
            two and no rows to validate on are given.
        store: the rows.
        other: there are other rows to validate on.
    """
    if asked is not None:
        return asked
    count = int(store.is_complete.sum())
    held = min(count // HELD_OF, HELD_MOST)
    return held / count if held >= 2 and not other else 0.0


def start_model(config: TrainConfig, data: PairDataModule) -> Model:
    """A fresh model, or the one of `checkpoint`, which must be what the configuration says.

    A model file of the original, `.npz`, gives the network's weights alone.

    Raises:
        UserError: naming the keys that differ, or a modality that no row can be scaled by.
    """
    sizes = (data.store.mod1size, data.store.mod2size)
    _check_size(config, sizes)
    with preserved_random():
        torch.manual_seed(config.seed)
        fresh = Model(*sizes, config.model, config.scaling, config.embedding)
    path = None if config.checkpoint is None else Path(config.checkpoint)
    if path is not None and path.suffix != ".npz":
        model = load_bundle(path)
        check_sizes(model, data.store)
        check_settings(path, model, fresh)
        return model
    if path is not None:  # weights and nothing else
        if config.model.architecture is not Architecture.bidnn:
            raise UserError(f"checkpoint={path}: a model file of the original; set model=bidnn")
        fresh.network = read_model(path, config.model)
        check_sizes(fresh, data.store)
    fit_scaling((fresh.first_scaler, fresh.second_scaler), data.store, data.scaling_rows)
    return fresh


def _check_size(config: TrainConfig, sizes: tuple[int, int]) -> None:
    """Refuses a network that does not fit into memory, before it takes any.

    Raises:
        UserError: naming the keys.
    """
    keys = f"model.hdn={config.model.hdn}, model.rep={config.model.rep}"
    try:
        with torch.device("meta"):
            described = Model(*sizes, config.model, config.scaling, config.embedding)
    except (RuntimeError, TypeError, OverflowError) as error:
        raise UserError(f"{keys}: no network can be so large; make them smaller") from error
    size = sum(values.nbytes for values in described.state_dict().values())
    copies = COPIES if config.trainer.trains else 1
    check_memory(copies * size, f"{keys}; make them smaller")


@contextmanager
def preserved_random() -> Iterator[None]:
    """Leaves torch's random numbers, of every device, as they were."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    apple = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        if apple is not None:
            torch.mps.set_rng_state(apple)
