"""A training step of scripts/train.py beside a plain eager PyTorch loop.

Whole runs of the program, long minus short, so that what is paid once does not count; program and
loop in turn; the median of the rounds' ratios.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from rows import Row
from torch import nn
from torch.nn import functional

ROOT = Path(__file__).resolve().parents[1]
BATCH = 128
ROUNDS = 3
TINY, PAPER = (32, 32, 64, 32), (100, 4096, 2048, 2048)
LENGTH = {TINY: (12800, 200), PAPER: (1280, 20)}  # rows, and by how many epochs long is longer


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


def steps(name: str, sizes: tuple[int, int, int, int], speed: str, aim: str) -> Row:
    """One row: milliseconds a step of the program, and of the loop."""
    rows, longer = LENGTH[sizes]
    generator = np.random.default_rng(0)
    parts = [generator.uniform(-0.5, 0.5, (rows, n)).astype(np.float32) for n in sizes[:2]]
    count = longer * (rows // BATCH)
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "rows.npz", first=parts[0], second=parts[1])
        for _ in range(ROUNDS):
            short, long = (_program(Path(folder), sizes, speed, 1 + n) for n in (0, longer))
            ours = 1000 * (long - short) / count
            pairs.append((ours, 1000 * _plain(parts, sizes, longer) / count))
    ratio = statistics.median(ours / plain for ours, plain in pairs)
    ours, plain = next(pair for pair in pairs if pair[0] / pair[1] == ratio)
    return Row(name=name, ours=ours, other=plain, unit="ms", against="plain eager loop", aim=aim)


def _program(folder: Path, sizes: tuple[int, int, int, int], speed: str, epochs: int) -> float:
    settings = ["data=npz", f"data.path={folder / 'rows.npz'}", f"hydra.run.dir={folder / 'run'}"]
    settings += [f"model.hdn={sizes[2]}", f"model.rep={sizes[3]}", f"speed={speed}"]
    settings += [f"trainer.max_epochs={epochs}", f"data.batch_size={BATCH}"]
    started = time.perf_counter()
    program = [sys.executable, str(ROOT / "scripts" / "train.py"), *settings]
    subprocess.run(program, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def _plain(
    parts: list[np.ndarray[tuple[int, int], np.dtype[np.float32]]],
    sizes: tuple[int, int, int, int],
    epochs: int,
) -> float:
    """Seconds of the same epochs by a plain loop, on as many threads as the program takes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if sizes == TINY else threads)
    network = Plain(*sizes)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    first, second = (torch.from_numpy(part) for part in parts)
    components = BATCH * (sizes[0] + sizes[1])
    started = time.perf_counter()
    for _ in range(epochs):
        order = torch.randperm(len(first))
        for start in range(0, len(first) - BATCH + 1, BATCH):
            rows = order[start : start + BATCH]
            x, y = first[rows], second[rows]
            to_first, to_second = network(x, y)
            loss = (((to_first - x) ** 2).sum() + ((to_second - y) ** 2).sum()) / components
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    seconds = time.perf_counter() - started
    torch.set_num_threads(threads)
    return seconds
