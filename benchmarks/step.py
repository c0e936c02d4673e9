"""A training step of this program beside a plain eager PyTorch loop, in the same process.

Whole trainings, long minus short, so that what is paid once does not count; the two in turn, three
times; the ratio of each pair.

    python benchmarks/step.py            # tiny: 32 + 32, hdn 64, rep 32
    python benchmarks/step.py --paper    # 100 + 4096, hdn 2048, rep 2048
"""

import argparse
import time

import numpy as np
import torch
from lightning import Trainer
from torch import nn
from torch.nn import functional

from bidnn.architecture import NetworkConfig
from bidnn.bundle import Trained
from bidnn.data.datamodule import PairDataModule
from bidnn.data.scaling import ScalingConfig
from bidnn.data.store import PairStore
from bidnn.embedding import EmbeddingConfig
from bidnn.inference import MissingStrategy
from bidnn.losses import LossConfig
from bidnn.optimizers import SgdConfig
from bidnn.training import fresh_model, quiet_lightning, train

BATCH = 128


class Plain(nn.Module):
    """The tied network, as one would write it down."""

    def __init__(self, mod1size: int, mod2size: int, hdn: int, rep: int) -> None:
        """Default initial weights; only the time counts."""
        super().__init__()
        self.enc1, self.enc2 = nn.Linear(mod1size, hdn), nn.Linear(mod2size, hdn)
        self.a, self.b = nn.Linear(hdn, rep // 2), nn.Linear(rep // 2, hdn)
        self.bias_b, self.bias_a = (nn.Parameter(torch.zeros(n)) for n in (rep // 2, hdn))
        self.out1, self.out2 = nn.Linear(hdn, mod1size), nn.Linear(hdn, mod2size)

    def forward(
        self, first: torch.Tensor, second: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Both translations."""
        one = functional.dropout(torch.tanh(self.a(torch.tanh(self.enc1(first)))), 0.2)
        centre = functional.linear(torch.tanh(self.enc2(second)), self.b.weight.T, self.bias_b)
        two = functional.dropout(torch.tanh(centre), 0.2)
        back = torch.tanh(functional.linear(two, self.a.weight.T, self.bias_a))
        return torch.tanh(self.out1(back)), torch.tanh(self.out2(torch.tanh(self.b(one))))


def ours(store: PairStore, hdn: int, rep: int, epochs: int) -> float:
    """Seconds of a training by this program."""
    data = PairDataModule(store, batch_size=BATCH, seed=0)
    network = NetworkConfig(hdn=hdn, rep=rep)
    model = fresh_model(data, network, ScalingConfig(), EmbeddingConfig(), 0)
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    started = time.perf_counter()
    trained = Trained(model, MissingStrategy.duplicate)
    train(trained, data, LossConfig(), SgdConfig(), trainer, seed=0)
    return time.perf_counter() - started


def plain(store: PairStore, hdn: int, rep: int, epochs: int) -> float:
    """Seconds of the same training by a plain loop."""
    network = Plain(store.mod1size, store.mod2size, hdn, rep)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    first, second = torch.from_numpy(store.first), torch.from_numpy(store.second)
    components = BATCH * (store.mod1size + store.mod2size)
    started = time.perf_counter()
    for _ in range(epochs):
        order = torch.randperm(len(store))
        for start in range(0, len(store) - BATCH + 1, BATCH):
            rows = order[start : start + BATCH]
            x, y = first[rows], second[rows]
            to_first, to_second = network(x, y)
            loss = (((to_first - x) ** 2).sum() + ((to_second - y) ** 2).sum()) / components
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return time.perf_counter() - started


def main() -> None:
    """Prints milliseconds a step and the ratio, three times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--paper", action="store_true", help="the paper's size")
    paper = parser.parse_args().paper
    quiet_lightning()
    sizes = (100, 4096, 2048, 2048) if paper else (32, 32, 64, 32)
    rows, short, long = (1280, 1, 3) if paper else (12800, 2, 12)
    generator = np.random.default_rng(0)
    parts = (generator.uniform(-0.5, 0.5, (rows, n)).astype(np.float32) for n in sizes[:2])
    store = PairStore(*parts, np.ones((rows, 2), dtype=bool))
    steps = (long - short) * (rows // BATCH)
    for _ in range(3):
        times = [
            1000 * (run(store, *sizes[2:], long) - run(store, *sizes[2:], short)) / steps
            for run in (ours, plain)
        ]
        ratio = times[0] / times[1]
        print(f"bidnn {times[0]:8.3f} ms   plain loop {times[1]:8.3f} ms   {ratio:.2f} ×")


if __name__ == "__main__":
    main()
