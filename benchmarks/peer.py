"""Training beside its peers, and the network's arithmetic beside the machine's rate.

cca_zoo is a package of its own: `pip install cca-zoo`.
"""

import importlib.util
import time
import warnings
from functools import partial
from typing import Any

import numpy as np
import step
import torch
from lightning import LightningModule, Trainer
from numpy.typing import NDArray
from rows import Row, in_turn
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from bidnn.architecture import NetworkConfig
from bidnn.data.sources import ArraySource
from bidnn.data.store import PairStore
from bidnn.losses import LossConfig, pair_loss
from bidnn.model.outputs import OutputConfig
from bidnn.network import Network
from bidnn.training.config import TrainConfig, TrainerConfig
from bidnn.training.fit import fit, quiet_lightning
from bidnn.training.optimizers import SgdConfig

BATCH = 128
PAPER = (100, 4096, 2048, 2048)


def training() -> list[Row]:
    """A step of the tiny network, and an epoch of 11 of them, beside each peer.

    All of them on one thread, which is the fastest for so small a step. A step is one of an epoch
    of 100; whatever is paid once does not count.
    """
    peers = {"plain loop, eager": _loop, "LightningModule, DataLoader": _lightning}
    if importlib.util.find_spec("cca_zoo") is None:
        print("cca_zoo: not installed, left out; pip install cca-zoo", flush=True)
    else:
        peers["cca_zoo's deep CCA"] = _deep_cca
    quiet_lightning()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = []
    for name, steps, longer in (("step, 32 + 32", 100, 20), ("epoch of 11 steps", 11, 150)):
        parts = step.drawn(steps * BATCH, step.TINY)
        tasks = [
            partial(task, parts, epochs)
            for task in (_ours, *peers.values())
            for epochs in (1, 1 + longer)
        ]
        seconds = in_turn(*tasks)
        each = [
            1000 * (long - short) / longer
            for short, long in zip(seconds[::2], seconds[1::2], strict=True)
        ]
        if steps == 100:
            each = [spent / steps for spent in each]
        ours, *others = each
        found += [
            Row(name=name, ours=ours, other=other, unit="ms", against=peer)
            for peer, other in zip(peers, others, strict=True)
        ]
    torch.set_num_threads(threads)
    return found


def _ours(parts: list[NDArray[np.float32]], epochs: int) -> None:
    config = TrainConfig(
        data=ArraySource(batch_size=BATCH, val_fraction=0.0),
        model=NetworkConfig(hdn=step.TINY[2], rep=step.TINY[3]),
        trainer=TrainerConfig(max_epochs=epochs, accelerator="cpu"),
        loss=LossConfig(),
        optimizer=SgdConfig(),
        output=OutputConfig(path=None),
        doctor=False,
    )
    fit(config, PairStore(*parts, np.ones((len(parts[0]), 2), dtype=bool)))


def _loop(parts: list[NDArray[np.float32]], epochs: int) -> None:
    step.plain_loop(parts, step.TINY, epochs)


def _lightning(parts: list[NDArray[np.float32]], epochs: int) -> None:
    rows = TensorDataset(*map(torch.from_numpy, parts))
    _fit_by_lightning(step.Module(step.TINY), rows, epochs)


def _deep_cca(parts: list[NDArray[np.float32]], epochs: int) -> None:
    """Encoders of the same size; its loss is the correlation of the two centres."""
    from cca_zoo.deep import DCCA, MultiviewDataset

    hdn, centre = step.TINY[2], step.TINY[3] // 2
    encoders = [
        nn.Sequential(nn.Linear(part.shape[1], hdn), nn.Tanh(), nn.Linear(hdn, centre))
        for part in parts
    ]
    _fit_by_lightning(DCCA(centre, encoders), MultiviewDataset(parts), epochs)


def _fit_by_lightning(module: LightningModule, rows: Dataset[Any], epochs: int) -> None:
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the loader could have processes of its own
        trainer.fit(module, DataLoader(rows, BATCH, shuffle=True, drop_last=True))


def matrix_rate() -> list[Row]:
    """Floating-point operations a second of the paper's network beside one large product's."""
    rate = 0.0
    left, right = torch.rand(2048, 2048), torch.rand(2048, 2048)
    for _ in range(10):
        started = time.perf_counter()
        torch.mm(left, right)
        rate = max(rate, 2 * 2048**3 / (time.perf_counter() - started) / 1e9)
    network = Network(*PAPER[:2], NetworkConfig(hdn=PAPER[2], rep=PAPER[3]))
    found = []
    for batch in (BATCH, 1024):
        first, second = (torch.rand(batch, size) - 0.5 for size in PAPER[:2])
        operations = 6 * batch * sum(_uses(name) * p.numel() for name, p in _weights(network))
        best = 0.0
        for _ in range(5):
            started = time.perf_counter()
            losses = pair_loss(network(first, second), first, second, LossConfig())
            losses.total.backward()
            network.zero_grad()
            best = max(best, operations / (time.perf_counter() - started) / 1e9)
        found.append(
            Row(
                name=f"forward and backward, batch {batch}",
                ours=best,
                other=rate,
                unit="GFLOP/s",
                against="one product of 2048³, fp32",
            )
        )
    return found


def _weights(network: Network) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, value) for name, value in network.named_parameters() if value.dim() == 2]


def _uses(name: str) -> int:
    """Tied weights are used in both directions."""
    return 2 if "centre" in name or "decoder" in name else 1
