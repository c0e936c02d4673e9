"""A training step of scripts/train.py beside a plain eager PyTorch loop.

Whole runs of the program, long minus short, so that what is paid once does not count; program and
loop in turn; the median of the rounds' ratios.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import TensorBoardLogger
from numpy.typing import NDArray
from rows import Row
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from bidnn.training.fit import quiet_lightning

ROOT = Path(__file__).resolve().parents[1]
BATCH = 128
ROUNDS = 3
MONITOR = "lightning.pytorch.callbacks.LearningRateMonitor"
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
    parts = drawn(rows, sizes)
    count = longer * (rows // BATCH)
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "rows.npz", first=parts[0], second=parts[1])
        for _ in range(ROUNDS):
            short, long = (_program(Path(folder), sizes, speed, 1 + n) for n in (0, longer))
            ours = 1000 * (long - short) / count
            pairs.append((ours, 1000 * plain_loop(parts, sizes, longer) / count))
    ratio = statistics.median(ours / plain for ours, plain in pairs)
    ours, plain = next(pair for pair in pairs if pair[0] / pair[1] == ratio)
    return Row(name=name, ours=ours, other=plain, unit="ms", against="plain eager loop", aim=aim)


def epoch(name: str, speed: str, aim: str) -> Row:
    """One row: what an epoch of 11 tiny steps takes besides them, of its processor time.

    That of a step is what epochs of 352 steps take in addition.
    """
    epochs = {11: 400, 352: 20}  # by steps of an epoch
    found = []
    with tempfile.TemporaryDirectory() as folder:
        ends = Path(folder) / "ends.json"
        more = ["+callbacks.clock._target_=clock.Clock", f"+callbacks.clock.path={ends}"]
        for _ in range(ROUNDS):
            spent = {}
            for steps, count in epochs.items():
                first, second = drawn(steps * BATCH, TINY)
                np.savez(Path(folder) / "rows.npz", first=first, second=second)
                _program(Path(folder), TINY, speed, count, more)
                spent[steps] = float(np.median(np.diff(json.loads(ends.read_text()))[2:]))
            step = (spent[352] - spent[11]) / (352 - 11)
            found.append((1000 * (spent[11] - 11 * step), 1000 * spent[11]))
    ratio = statistics.median(own / whole for own, whole in found)
    own, whole = next(pair for pair in found if pair[0] / pair[1] == ratio)
    return Row(name=name, ours=own, other=whole, unit="ms CPU", against="the whole epoch", aim=aim)


def _processor_time() -> float:
    """Seconds that the programs that ended have had."""
    return os.times().children_user + os.times().children_system


def threads_of(sizes: tuple[int, int, int, int]) -> int:
    """What the program takes on a machine where nobody else is at work."""
    return 1 if sizes == TINY else torch.get_num_threads()


def drawn(rows: int, sizes: tuple[int, int, int, int]) -> list[NDArray[np.float32]]:
    """Both modalities."""
    generator = np.random.default_rng(0)
    return [generator.uniform(-0.5, 0.5, (rows, n)).astype(np.float32) for n in sizes[:2]]


class Module(LightningModule):
    """The same network as an ordinary LightningModule."""

    def __init__(self, sizes: tuple[int, int, int, int]) -> None:
        """Default initial weights."""
        super().__init__()
        self.network = Plain(*sizes)
        self.components = BATCH * (sizes[0] + sizes[1])

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        """The loss of a batch, logged as the program logs it."""
        x, y = batch
        to_first, to_second = self.network(x, y)
        loss: torch.Tensor = (
            ((to_first - x) ** 2).sum() + ((to_second - y) ** 2).sum()
        ) / self.components
        self.log("loss", loss, on_step=True, on_epoch=False, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The plain loop's."""
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9, nesterov=True)


def observed(name: str, sizes: tuple[int, int, int, int], aim: str) -> Row:
    """One row: milliseconds of processor time a step, with a callback that looks at each."""
    rows, longer = LENGTH[sizes][0], LENGTH[sizes][1] // 8
    parts = drawn(rows, sizes)
    count = longer * (rows // BATCH)
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "rows.npz", first=parts[0], second=parts[1])
        for _ in range(ROUNDS):
            more = [f"+callbacks.rate._target_={MONITOR}"]
            spent = [_processor_time()]
            for epochs in (1, 1 + longer):
                _program(Path(folder), sizes, "plain", epochs, more)
                spent.append(_processor_time())
            ours = 1000 * (spent[2] - 2 * spent[1] + spent[0]) / count
            pairs.append((ours, 1000 * _lightning(parts, sizes, longer, Path(folder)) / count))
    ratio = statistics.median(ours / other for ours, other in pairs)
    ours, other = next(pair for pair in pairs if pair[0] / pair[1] == ratio)
    return Row(name=name, ours=ours, other=other, unit="ms CPU", against="LightningModule", aim=aim)


def _lightning(
    parts: list[np.ndarray[tuple[int, int], np.dtype[np.float32]]],
    sizes: tuple[int, int, int, int],
    epochs: int,
    folder: Path,
) -> float:
    """Seconds of processor time of the same epochs by Lightning's own loop."""
    threads = torch.get_num_threads()
    torch.set_num_threads(threads_of(sizes))
    loader = DataLoader(
        TensorDataset(*map(torch.from_numpy, parts)), BATCH, shuffle=True, drop_last=True
    )
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=TensorBoardLogger(folder),
        callbacks=[LearningRateMonitor()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    quiet_lightning()
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the loader could have processes of its own
        trainer.fit(Module(sizes), loader)
    seconds = time.process_time() - started
    torch.set_num_threads(threads)
    return seconds


def _program(
    folder: Path,
    sizes: tuple[int, int, int, int],
    speed: str,
    epochs: int,
    more: Sequence[str] = (),
) -> float:
    settings = ["data=npz", f"data.path={folder / 'rows.npz'}", f"hydra.run.dir={folder / 'run'}"]
    settings += [f"model.hdn={sizes[2]}", f"model.rep={sizes[3]}", f"speed={speed}"]
    settings += [f"trainer.max_epochs={epochs}", f"data.batch_size={BATCH}", "data.val_fraction=0"]
    # The program would leave processors to whoever is busy, a reader that ends, say.
    settings += ["report=false", f"speed.threads={threads_of(sizes)}"]
    started = time.perf_counter()
    program = [sys.executable, str(ROOT / "scripts" / "train.py"), *settings, *more]
    rooms = {**os.environ, "PYTHONPATH": str(ROOT / "benchmarks")}  # for the clock
    subprocess.run(program, check=True, stdout=subprocess.DEVNULL, env=rooms)
    return time.perf_counter() - started


def plain_loop(
    parts: list[np.ndarray[tuple[int, int], np.dtype[np.float32]]],
    sizes: tuple[int, int, int, int],
    epochs: int,
) -> float:
    """Seconds of the same epochs by a plain loop, on as many threads as the program takes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(threads_of(sizes))
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
