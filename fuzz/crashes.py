"""Interrupts trainings at random moments, resumes them, and compares them with one left alone.

python -m fuzz.crashes --count 300

Each draw combines settings, a fault and a moment. What is compared: every output's bytes, what
`last.ckpt` and `best.ckpt` hold, `metrics.json`, the rows of `metrics.csv`, the commands that were
run, the lines of `train.log`, and the names of all files that are left; besides, exit statuses,
tracebacks, and processes that outlive their run. `--only NUMBER` repeats one draw.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fuzz.draws import EPOCHS, EVERY, KINDS, MOMENTS, Draw
from fuzz.traces import differences, is_reported, log_lines
from tests.programs.disks import fill, small_disk
from tests.programs.running import start

TRAIN = "scripts/train.py"
SCRIPT = """\
touch {folder}/begun-$1
sleep 0.1
cksum < "$BIDNN_OUTPUT" | {{ read sum size; echo "{{\\"score\\": $((sum % 1000))}}"; }}
"""
MARK = "BIDNN_CRASH"
"""An environment variable that the processes of a run are known by."""
STATUS = {"SIGKILL": -signal.SIGKILL, "SIGTERM": 143, "SIGINT": 130}
SPARE = (0, 0, 4096, 30_000, 60_000)
"""Bytes that a full disk may have left."""
LIMIT_S = 300.0
LATE, SKIPPED = "at its end before", "skipped"
REPORTED = "reported losses"
OFTEN = "callbacks.checkpoint.every_minutes=0.0003"


@dataclass
class Alone:
    """A run that was left alone: its folder, and the seconds from its settings to its end."""

    folder: Path
    seconds: float

    @cached_property
    def epochs(self) -> list[int]:
        """After which outputs were written."""
        found = self.folder.glob("run/embedding_0*.npz")
        return sorted(int(path.stem.removeprefix("embedding_")) for path in found)

    @property
    def compiling(self) -> float:
        """Seconds that compiling took; 0 where nothing was compiled."""
        found = re.search(r"compiled the training step in ([\d.]+) s", _log(self.folder / "run"))
        return float(found[1]) if found else 0.0


class Matrix:
    """Makes draws; runs that are left alone are kept, one for each combination of settings."""

    def __init__(self, folder: Path) -> None:
        """Writes the rows to train on: 2000 of 6 + 10, of which 90 miss one modality."""
        self.folder, self._alone = folder, dict[tuple[str, ...], Alone]()
        self._compiling = 0.0  # seconds, at the most
        # A shell's background job ignores Ctrl-C, and so would all that it starts.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        generator = np.random.default_rng(0)
        hidden = generator.normal(size=(2000, 4))
        first, second = (np.tanh(hidden @ generator.normal(size=(4, n))) for n in (6, 10))
        first[:50], second[50:90] = np.nan, np.nan
        self.rows = folder / "features.npz"
        np.savez(self.rows, first=first.astype("f4"), second=second.astype("f4"))

    def begin(self, draw: Draw, folder: Path, *more: str) -> Any:  # noqa: ANN401 — as Popen
        """Starts a training in `folder/run`; processes of it are marked by the folder's name."""
        script = folder.parent / f"{folder.name}.sh"
        script.write_text(SCRIPT.format(folder=folder))
        os.environ[MARK] = str(folder)
        cold = draw.moment == "compile" and folder.name.startswith("draw")
        caches = folder.parent / f"{folder.name}-cache" if cold else self.folder / "cache"
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(caches)
        command = (f"output.command='sh {script} %e'",) if "command" in draw.options else ()
        logger = () if "csv" in draw.options else ("logger=none",)
        return start(
            TRAIN,
            *("data=npz", f"data.path={self.rows}", "data.val_fraction=0.1", *draw.settings),
            *("data.batch_size=16", "model.hdn=16", "model.rep=8", *command, *logger),
            *(f"trainer.max_epochs={EPOCHS}", f"output.every_n_epochs={EVERY}"),
            *("callbacks.progress=null", f"hydra.run.dir={folder / 'run'}", *more),
            fresh=draw.kind == "ddp",
        )

    def alone(self, draw: Draw) -> Alone:
        """The run of the draw's settings that nobody interrupts."""
        key = (*draw.settings, str("command" in draw.options), str("csv" in draw.options))
        if key not in self._alone:
            folder = self.folder / f"alone-{len(self._alone)}"
            folder.mkdir()
            process = self.begin(draw, folder)
            _wait(process, (folder / "run" / "config.yaml").exists)
            started = time.monotonic()
            _, err = process.communicate(timeout=LIMIT_S)
            assert process.returncode == 0, f"{draw}, left alone: {err}"
            self._alone[key] = Alone(folder, time.monotonic() - started)
            self._compiling = max(self._compiling, self._alone[key].compiling)
        return self._alone[key]

    def try_(self, draw: Draw) -> tuple[str, list[str]]:
        """Interrupts, resumes, compares.

        Returns:
            REPORTED, if the run itself said that outputs at intervals are lost; LATE, if it was at
            its end before it could be interrupted; else ""; and what differs.
        """
        alone, folder = self.alone(draw), self.folder / f"draw-{draw.number}"
        folder.mkdir()
        with small_disk(folder) if draw.fault == "full disk" else nullcontext():
            late, found, err = self._interrupted(draw, folder, alone)
            again, more = self._resumed(draw, folder)
            found += again
            said = log_lines(folder / "run", err + more)
            differ = differences(alone.folder, folder, said)
            reported = [d for d in differ if is_reported(d, said, steers=draw.by_score)]
            found += [d for d in differ if d not in reported]
            if found:
                (self.folder / f"draw-{draw.number}.txt").write_text(f"{draw}\n{err}\n{more}")
        if not found:
            shutil.rmtree(folder)
        return (REPORTED if reported else LATE if late else ""), found

    def _interrupted(self, draw: Draw, folder: Path, alone: Alone) -> tuple[bool, list[str], str]:
        """Whether the run was at its end before; what is wrong with its end; what it said."""
        process = self.begin(draw, folder, *([OFTEN] if draw.often else []))
        self._await(process, draw, folder, alone)
        with self._fault(process, draw, folder):
            late = process.poll() is not None or "run folder: " in _log(folder / "run")
            found, err = _ended(process, folder)
        expected = {0, 1} if draw.fault == "full disk" else {STATUS[draw.fault]}
        if draw.kind == "ddp" and draw.fault == "SIGKILL":
            expected.add(1)  # of the first process, when the other was killed
        # Once all is said and written, the interpreter's end is as any signal makes it.
        if not (found or late or process.returncode in expected):
            found.append(f"exit status {process.returncode}")
        return late, found, err

    def _resumed(self, draw: Draw, folder: Path) -> tuple[list[str], str]:
        """What is wrong with the end of the run that goes on; what it said."""
        can_go_on = (folder / "run" / "checkpoints" / "last.ckpt").is_file()
        process = self.begin(draw, folder, f"resume={'true' if can_go_on else 'auto'}")
        found, err = _ended(process, folder)
        if not found and process.returncode:
            found.append(f"exit status {process.returncode}")
        return [f"{what}, resumed" for what in found], err

    def _await(self, process: Any, draw: Draw, folder: Path, alone: Alone) -> None:  # noqa: ANN401 — as Popen
        """Waits for the draw's moment, and for a random part of what lasts from then."""
        run = folder / "run"
        epoch = draw.dice.choice([f"{e:05d}" for e in alone.epochs] or ["final"])

        def named(text: str) -> Callable[[], bool]:
            return lambda: run.is_dir() and any(text in path.name for path in run.iterdir())

        begun, lasts = (run / "config.yaml").exists, alone.seconds
        match draw.moment:
            case "compile":
                lasts = self._compiling
            case "interval output":
                begun, lasts = named(f"embedding_{epoch}"), 0.03
            case "final output":  # whose name is tried before the training
                _wait(process, lambda: f"rows written to {run}" in _log(run) or not alone.epochs)
                begun, lasts = named("embedding_final"), 0.03
            case "command":
                epoch = draw.dice.choice([epoch, "final"])
                begun, lasts = (folder / f"begun-{epoch}").exists, 0.15
        _wait(process, begun)
        time.sleep(draw.dice.uniform(0.0, lasts))

    @contextmanager
    def _fault(self, process: Any, draw: Draw, folder: Path) -> Iterator[None]:  # noqa: ANN401 — as Popen
        if draw.fault == "full disk":
            with fill(folder, draw.dice.choice(SPARE)):
                yield
            return
        number = signal.Signals[draw.fault]
        peers = [p for p in _processes(folder) if "LOCAL_RANK=1" in p[1]]
        kills = number == signal.SIGKILL  # what else comes to one process comes to the first
        whom = (
            draw.dice.choice(("all", "first", *(["peer"] if kills else []))) if peers else "first"
        )
        if whom != "peer":
            process.send_signal(number)
        if whom != "first":
            for pid, _ in peers:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
        yield


def _log(run: Path) -> str:
    path = run / "train.log"
    return path.read_text() if path.exists() else ""


def _wait(process: Any, seen: Callable[[], bool]) -> None:  # noqa: ANN401 — as Popen
    while process.poll() is None and not seen():
        time.sleep(0.002)


def _ended(process: Any, folder: Path) -> tuple[list[str], str]:  # noqa: ANN401 — as Popen
    """What is wrong with how a run ends, and what it said."""
    try:
        _, err = process.communicate(timeout=LIMIT_S)
    except (TimeoutError, subprocess.TimeoutExpired):
        process.kill()
        return ["hangs"], ""
    until = time.monotonic() + 30.0
    while (left := _processes(folder)) and time.monotonic() < until:
        time.sleep(0.05)
    for pid, _ in left:
        os.kill(pid, signal.SIGKILL)
    found = ["a process is left"] if left else []
    return [*found, *(["a traceback"] if "Traceback" in err else [])], err


def _processes(folder: Path) -> list[tuple[int, str]]:
    """Processes with the folder's mark, by number, and their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            environment = (path / "environ").read_bytes().decode(errors="replace")
            if f"{MARK}={folder}\0" in environment and int(path.name) != os.getpid():
                found.append((int(path.name), environment))
    return found


def possible(folder: Path) -> tuple[set[str], set[str]]:
    """Faults and moments that this machine has no means for."""
    faults, moments = set[str](), set[str]()
    try:
        with small_disk(folder):
            pass
    except PermissionError:
        faults.add("full disk")
    if not any(map(shutil.which, ("g++", "clang++", "c++"))):
        moments.add("compile")
    return faults, moments


def table(rows: dict[tuple[str, str], list[str]]) -> str:
    """How often each fault came at each moment, and what differed then.

    Args:
        rows: for each fault and moment, what each of its draws came to: "" for no difference.
    """
    kinds = (LATE, REPORTED, SKIPPED)
    heads = ("late", "reported", "skipped")
    lines = [f"{'fault':10} {'moment':16} draws {' '.join(heads)}  differed"]
    for (fault, moment), results in sorted(rows.items()):
        counts = Counter(results)
        shown = " ".join(f"{counts.pop(k, 0):{len(h)}}" for k, h in zip(kinds, heads, strict=True))
        counts.pop("", None)
        differed = "; ".join(f"{count}: {what}" for what, count in counts.items()) or "0"
        total = len(results) - results.count(SKIPPED)
        lines.append(f"{fault:10} {moment:16} {total:5} {shown}  {differed}")
    return "\n".join(lines)


def main() -> None:
    """Tries that many draws; exits with status 1 if anything differed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=300, help="how many draws there are (300)")
    parser.add_argument("--first", type=int, default=0, help="the first to try, to go on from (0)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=KINDS, action="append", help="draw of these alone")
    parser.add_argument("--only", type=int, help="the number of a draw to repeat")
    arguments = parser.parse_args()
    folder, started = Path(tempfile.mkdtemp(prefix="crashes-")), time.monotonic()
    lacks_faults, lacks_moments = possible(folder)
    matrix, rows, parts = Matrix(folder), dict[tuple[str, str], list[str]](), Counter[str]()
    kinds = arguments.kind or tuple(KINDS)
    moments = [moment for moment in MOMENTS if moment != "compile" or "fast" in kinds]
    numbers = (
        range(arguments.first, arguments.count) if arguments.only is None else [arguments.only]
    )
    for number in numbers:
        draw = Draw.of(arguments.seed, number, kinds, moments)
        if (
            draw.fault in lacks_faults
            or draw.moment in lacks_moments
            or (draw.kind == "fast" and lacks_moments)
        ):
            print(f"SKIPPED {draw}: this machine lacks a C++ compiler or the right to mount")
            rows.setdefault((draw.fault, draw.moment), []).append(SKIPPED)
            continue
        came_to, found = matrix.try_(draw)
        result = "; ".join(found) or came_to
        rows.setdefault((draw.fault, draw.moment), []).append(result)
        parts.update((draw.kind, *draw.options))
        print(
            f"{time.monotonic() - started:5.0f} s  {draw}: {result or 'no difference'}", flush=True
        )
    print(table(rows))
    print(", ".join(f"{name} {count}" for name, count in parts.items()))
    results = [result for found in rows.values() for result in found]
    skipped, late, reported = map(results.count, (SKIPPED, LATE, REPORTED))
    differed = sum(result not in ("", LATE, REPORTED, SKIPPED) for result in results)
    print(
        f"{len(results) - skipped} draws, {late} at their end before, {reported} with losses that "
        f"the run reported, {skipped} SKIPPED, {differed} with differences, "
        f"{time.monotonic() - started:.0f} s"
    )
    if differed:
        sys.exit(
            f"{folder} has what differed; --seed {arguments.seed} --only NUMBER repeats a draw"
        )
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
