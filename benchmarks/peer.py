"""Training beside cca_zoo's deep CCA, and the network's arithmetic beside the machine's rate.

cca_zoo is a package of its own: `pip install cca-zoo`.
"""

import time
from functools import partial

import torch
from lightning import Trainer
from rows import Row, in_turn
from torch import nn
from torch.utils.data import DataLoader

from bidnn import BiDNN
from bidnn.architecture import NetworkConfig
from bidnn.data.formats.digits import load_halves
from bidnn.losses import LossConfig, pair_loss
from bidnn.network import Network
from bidnn.training.fit import quiet_lightning

LENGTHS = (2, 52)  # epochs
BATCH = 128
PAPER = (100, 4096, 2048, 2048)


def deep_cca() -> list[Row]:
    """Milliseconds an epoch on the digits, both with hidden layers of 256 and a centre of 64."""
    from cca_zoo.deep import DCCA, MultiviewDataset

    quiet_lightning()
    store = load_halves()
    views = list(store.take(slice(None)))

    def ours(epochs: int) -> None:
        BiDNN(hdn=256, rep=128, epochs=epochs, verbosity=0, batch_size=BATCH).fit(*views)

    def other(epochs: int) -> None:
        loader = DataLoader(MultiviewDataset(views), BATCH, shuffle=True, drop_last=True)
        encoders = [nn.Sequential(nn.Linear(32, 256), nn.Tanh(), nn.Linear(256, 64)) for _ in views]
        trainer = Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_checkpointing=False,
            enable_model_summary=False,
        )
        trainer.fit(DCCA(64, encoders), loader)

    tasks = [partial(task, epochs) for task in (ours, other) for epochs in LENGTHS]
    ours_short, ours_long, other_short, other_long = in_turn(*tasks)
    per_epoch = 1000 / (LENGTHS[1] - LENGTHS[0])
    return [
        Row(
            name="epoch of 1797 digits",
            ours=per_epoch * (ours_long - ours_short),
            other=per_epoch * (other_long - other_short),
            unit="ms",
            against="cca_zoo's deep CCA",
        )
    ]


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
