"""A training step and embedding on a GPU, beside plain loops and the limits of the device.

python benchmarks/gpu.py                # everything, some ten minutes
python benchmarks/gpu.py steps embed    # some of it

Each step is the median epoch of several, rows on the device, in milliseconds; epochs have 65 536
rows, those of batches of 4096 twice as many. The limits are measured first: a large copy (bytes
read and written) and large matrix products.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback
from step import BATCH, PAPER, TINY, Plain
from torch import Tensor

from bidnn.architecture import NetworkConfig
from bidnn.data.sources import ArraySource
from bidnn.data.store import PairStore
from bidnn.losses import LossConfig
from bidnn.model.inference import infer
from bidnn.model.outputs import OutputConfig
from bidnn.training.config import TrainConfig, TrainerConfig
from bidnn.training.fit import fit, quiet_lightning
from bidnn.training.optimizers import SgdConfig
from bidnn.training.speed import Bf16, SpeedConfig

GPU = torch.device("cuda")
CASES = [(TINY, BATCH), (PAPER, BATCH), (PAPER, 1024), (PAPER, 4096)]
EPOCHS = 8


def steps_of(batch: int) -> int:
    """Steps of an epoch."""
    return max(32, 2**16 // batch)


def milliseconds(work: Callable[[], object], repeats: int = 5) -> float:
    """The median time of some work, waited for."""
    spent = []
    for _ in range(repeats):
        torch.cuda.synchronize()
        started = time.perf_counter()
        work()
        torch.cuda.synchronize()
        spent.append(1000 * (time.perf_counter() - started))
    return statistics.median(spent)


def limits() -> dict[str, float]:
    """What the device can: bytes a second copied, operations a second of products."""
    values = torch.empty(2**28, device=GPU)
    target = torch.empty_like(values)
    found = {"bytes/s": 2 * values.nbytes / (milliseconds(lambda: target.copy_(values)) / 1000)}
    for kind, precise in ((torch.bfloat16, "highest"), (torch.float32, "high"), (None, "highest")):
        torch.set_float32_matmul_precision(precise)
        square = torch.randn(8192, 8192, device=GPU, dtype=kind)
        spent = milliseconds(lambda square=square: square @ square) / 1000
        name = {"high": "tf32"}.get(precise, "fp32" if kind is None else "bf16")
        found[f"{name} flop/s"] = 2 * 8192**3 / spent
    torch.set_float32_matmul_precision("highest")
    return found


def floor(sizes: tuple[int, int, int, int], batch: int, ceilings: dict[str, float]) -> str:
    """The least time of a step: weights, gradients and momenta moved once, products done once.

    The optimiser reads weights, gradients and momenta and writes weights and momenta; backward
    writes the gradients; forward and backward read the weights: eight times 4 bytes a weight.
    """
    weights = sum(values.numel() for values in Plain(*sizes).parameters())
    tied = (sizes[2] * sizes[3] // 2) * 2  # used by both directions
    operations = 6 * batch * (weights + tied)
    moved = 1000 * 32 * weights / ceilings["bytes/s"]
    exact, fast = (1000 * operations / ceilings[f"{kind} flop/s"] for kind in ("fp32", "bf16"))
    return f"memory {moved:.3f}, products fp32 {exact:.3f}, bf16 {fast:.3f}"


@cache
def rows(sizes: tuple[int, int, int, int], count: int) -> list[np.ndarray[Any, Any]]:
    """Both modalities, random."""
    generator = np.random.default_rng(0)
    half = np.float32(0.5)
    return [generator.random((count, n), dtype=np.float32) - half for n in sizes[:2]]


def plain(sizes: tuple[int, int, int, int], batch: int, *, how: str, bf16: bool) -> float:
    """Milliseconds a step of a plain loop: `eager`, `compiled` or `captured`."""
    count = steps_of(batch)
    first, second = (torch.from_numpy(part).to(GPU) for part in rows(sizes, batch * count))
    network = Plain(*sizes).to(GPU)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.1, momentum=0.9, nesterov=True, fused=True
    )
    components = batch * (sizes[0] + sizes[1])

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        with torch.autocast("cuda", torch.bfloat16) if bf16 else nullcontext():
            to_first, to_second = network(x, y)
            loss: Tensor = (((to_first - x) ** 2).sum() + ((to_second - y) ** 2).sum()) / components
            return loss

    losses: Any = torch.compile(loss_of) if how == "compiled" else loss_of

    def step(x: Tensor, y: Tensor) -> None:
        loss = losses(x, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    x, y = first[:batch].clone(), second[:batch].clone()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            step(x, y)
    torch.cuda.current_stream().wait_stream(stream)
    graph = None
    if how == "captured":
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step(x, y)

    def epoch() -> None:
        order = torch.randperm(len(first), device=GPU)
        for start in range(0, len(first), batch):
            chosen = order[start : start + batch]
            if graph is None:
                step(first[chosen], second[chosen])
            else:
                x.copy_(first[chosen])
                y.copy_(second[chosen])
                graph.replay()

    return milliseconds(epoch, 3) / count


class Clock(Callback):
    """Notes when each epoch ends on the device."""

    by_chunks = True

    def __init__(self) -> None:
        """Nothing noted yet."""
        self.ends: list[float] = []

    def on_train_epoch_end(self, *_: object) -> None:
        """Waits for the device."""
        torch.cuda.synchronize()
        self.ends.append(time.perf_counter())


def ours(
    sizes: tuple[int, int, int, int],
    batch: int,
    speed: SpeedConfig,
    epochs: int = EPOCHS,
    callbacks: tuple[Callback, ...] = (),
    steps: int | None = None,
) -> tuple[float, float]:
    """Milliseconds a step of the program, and its train loss."""
    count = batch * (steps or steps_of(batch))
    config = TrainConfig(
        data=ArraySource(batch_size=batch, val_fraction=0.0),
        model=NetworkConfig(hdn=sizes[2], rep=sizes[3]),
        trainer=TrainerConfig(max_epochs=epochs, accelerator="gpu"),
        loss=LossConfig(),
        optimizer=SgdConfig(),
        output=OutputConfig(path=None),
        speed=speed,
    )
    clock = Clock()
    store = PairStore(*rows(sizes, count), np.ones((count, 2), dtype=bool))
    fitted = fit(config, store, callbacks=[clock, *callbacks])
    between = np.diff(clock.ends)[2:]
    return 1000 * float(np.median(between)) * batch / count, fitted.metrics["train/loss"]


def steps(ceilings: dict[str, float]) -> Iterator[str]:
    """A line a case and way."""
    for sizes, batch in CASES:
        yield f"{sizes} at {batch}: at least {floor(sizes, batch, ceilings)} ms"
        ways = [("plain, eager", "eager", False), ("plain, compiled", "compiled", False)]
        ways += [("plain, captured", "captured", False)]
        if sizes == PAPER:
            ways += [
                (f"plain, {how}, bf16", how, True) for how in ("eager", "compiled", "captured")
            ]
        for name, how, bf16 in ways:
            yield f"  {name:24} {plain(sizes, batch, how=how, bf16=bf16):7.3f} ms"
        for name, speed in (
            ("bidnn", SpeedConfig()),
            ("bidnn, compiled", SpeedConfig(compile=True)),
            ("bidnn, speed=fast", SpeedConfig(compile=True, bf16=Bf16.auto)),
        ):
            spent, loss = ours(sizes, batch, speed)
            yield f"  {name:24} {spent:7.3f} ms, loss {loss:.6f}"
        spent, _ = ours(sizes, batch, speed, steps=32)
        yield f"  {'  epochs of 32 steps':24} {spent:7.3f} ms"


def profile(_: dict[str, float]) -> Iterator[str]:
    """Which kernels a step of the paper's size is made of, and how long the device waits."""
    for batch in (BATCH, 1024, 4096):
        for name, speed in (
            ("default", SpeedConfig()),
            ("fast", SpeedConfig(compile=True, bf16=Bf16.auto)),
        ):
            yield f"{PAPER} at {batch}, {name}"
            yield from _profiled(PAPER, batch, speed)


class Profiled(Callback):
    """Profiles the epochs after the third."""

    by_chunks = True

    def __init__(self) -> None:
        """Nothing is profiled yet."""
        kinds = [torch.profiler.ProfilerActivity.CUDA, torch.profiler.ProfilerActivity.CPU]
        self.profiler = torch.profiler.profile(activities=kinds)
        self.wall = 0.0

    def on_train_epoch_start(self, trainer: Any, *_: object) -> None:  # noqa: ANN401 — a Trainer, whose settings are not typed
        """Starts."""
        if trainer.current_epoch == 3:
            torch.cuda.synchronize()
            self.profiler.start()
            self.wall = time.perf_counter()

    def on_train_epoch_end(self, trainer: Any, *_: object) -> None:  # noqa: ANN401 — a Trainer, whose settings are not typed
        """Ends."""
        if trainer.current_epoch == 4:
            torch.cuda.synchronize()
            self.wall = time.perf_counter() - self.wall
            self.profiler.stop()


def _profiled(sizes: tuple[int, int, int, int], batch: int, speed: SpeedConfig) -> Iterator[str]:
    profiled = Profiled()
    ours(sizes, batch, speed, 6, (profiled,))
    events = [e for e in profiled.profiler.events() if "CUDA" in str(e.device_type)]
    found: dict[str, tuple[float, int]] = {}
    for event in events:
        spent, count = found.get(event.name, (0.0, 0))
        found[event.name] = spent + event.time_range.elapsed_us() / 1000, count + 1
    busy, steps = sum(spent for spent, _ in found.values()), 2 * steps_of(batch)
    yield (
        f"  {1000 * profiled.wall / steps:.3f} ms a step while profiled, {busy / steps:.3f} ms of "
        f"kernels, {len(events) / steps:.0f} kernels"
    )
    for name, (spent, count) in sorted(found.items(), key=lambda item: -item[1][0])[:14]:
        yield f"  {spent / steps:7.4f} ms {count / steps:6.1f} × {name[:90]}"


def embed(_: dict[str, float]) -> Iterator[str]:
    """Rows a second from mapped files, and of the encoders alone on rows on the device."""
    from bidnn.model.model import Model

    count = 200_000
    with tempfile.TemporaryDirectory() as folder:
        parts = []
        for name, part in zip("ab", rows(PAPER, count), strict=True):
            np.save(Path(folder) / f"{name}.npy", part)
            parts.append(np.load(Path(folder) / f"{name}.npy", mmap_mode="r"))
        store = PairStore(*parts, np.ones((count, 2), dtype=bool))
        model = Model(*PAPER[:2], NetworkConfig(hdn=PAPER[2], rep=PAPER[3])).to(GPU).eval()

        def all_rows() -> None:
            for _ in infer(model, store):
                pass

        size = 8192
        first, second = (torch.randn(size, n, device=GPU) for n in PAPER[:2])
        present = torch.ones(size, 2, dtype=torch.bool, device=GPU)

        def encoders() -> None:
            with torch.no_grad():
                for _ in range(count // size):
                    model.embed(first, second, present)

        def copies() -> None:
            for block in store.blocks((0, 1), model.widest):
                store.take(block)

        reading = milliseconds(copies, 3)
        one = np.array(parts[1][:20000])
        there = milliseconds(lambda: torch.from_numpy(one).to(GPU))
        pinned = torch.from_numpy(one).pin_memory()
        fast = milliseconds(lambda: pinned.to(GPU, non_blocking=True))
        limit = milliseconds(encoders, 3)
        spent = milliseconds(all_rows, 3)
        yield (
            f"embedding: {count / spent * 1000:.0f} rows/s from mapped files, "
            f"{count / limit * 1000:.0f} by the encoders alone, {count / reading * 1000:.0f} read; "
            f"copied there {one.nbytes / there / 1e6:.1f} GB/s, "
            f"pinned {one.nbytes / fast / 1e6:.1f}"
        )


PARTS = {"steps": steps, "profile": profile, "embed": embed}


def main() -> None:
    """Prints each line as it is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all if none is given")
    names = parser.parse_args().parts or list(PARTS)
    quiet_lightning()
    ceilings = limits()
    figures = ", ".join(f"{value:.3g} {name}" for name, value in ceilings.items())
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}: {figures}", flush=True)
    for name in names:
        for line in PARTS[name](ceilings):
            print(line, flush=True)


if __name__ == "__main__":
    main()
