"""Runs the programs as a person would, each in a process of its own.

An interpreter that starts spends more on importing than a small program on its work. A process is
therefore forked from one that has imported the programs and done nothing else, which leaves each
with arguments, environment, folder, signals and exit status of its own. `fresh=True` starts an
interpreter, as programs need whose workers joblib starts, and tests of how a program is started.
"""

import functools
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path
from unittest.mock import patch

from lightning.fabric.utilities.rank_zero import rank_zero_only

ROOT = Path(__file__).parents[2]
TINY = (
    "model.hdn=16",
    "model.rep=8",
    "trainer.max_epochs=2",
    "callbacks.progress=null",
    "report=false",
)
SURROUNDINGS = {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
IMPORTED = [
    *(f"bidnn.programs.{name}" for name in ("train", "embed", "convert", "compare", "evaluate")),
    *("bidnn.programs.export", "bidnn.programs.tune", "bidnn.programs.tuning.results"),
    *("bidnn.programs.entry", "bidnn.estimator", "bidnn.original.command_line"),
    *("lightning.pytorch.loggers.tensorboard", "tensorboard.summary.writer.event_file_writer"),
    *("hydra.core.utils", "hydra._internal.hydra", "hydra._internal.utils"),
]


@dataclass
class Ended:
    status: int
    out: str
    err: str


class Started:
    """A program that runs, with `subprocess.Popen`'s names for what can be done with it."""

    def __init__(self, program, arguments, cwd):
        self._files = tempfile.TemporaryDirectory()
        self._said = [Path(self._files.name, name) for name in ("out", "err")]
        told = (program, arguments, cwd, {**os.environ, **SURROUNDINGS}, self._said)
        self._process = _server().Process(target=_run_here, args=told)
        self._process.start()

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self._process.exitcode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self._process.pid, number)

    def kill(self):
        self._process.kill()

    def communicate(self, timeout=None):
        """What it printed until its end: the output, the errors."""
        self._process.join(timeout)
        if self.poll() is None:
            self.kill()
            raise TimeoutError(f"still running after {timeout} seconds")
        said = [path.read_text() for path in self._said]
        self._files.cleanup()
        return said


@functools.cache
def _server():
    """The process that programs are forked from, one for all tests of this process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    with patch.dict(os.environ, SURROUNDINGS):  # which torch reads when it is imported
        forkserver.ensure_running()
    return context


def _run_here(program, arguments, cwd, environment, said):
    os.environ.clear()
    os.environ.update(environment)
    rank_zero_only.rank = int(environment.get("RANK", "0"))  # as when Lightning is imported
    os.chdir(cwd)
    for number, path in enumerate(said, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    if program.startswith("-m "):
        sys.argv = [program, *arguments]
        sys.path.insert(0, str(cwd))
        runpy.run_module(program.removeprefix("-m "), run_name="__main__", alter_sys=True)
    else:
        sys.argv = [str(ROOT / program), *arguments]
        sys.path.insert(0, str(Path(sys.argv[0]).parent))
        runpy.run_path(sys.argv[0], run_name="__main__")


def start(program, *arguments, cwd=None, fresh=False):
    """A program that is not waited for."""
    if not fresh:
        return Started(program, [str(argument) for argument in arguments], cwd or ROOT)
    command = [sys.executable, *program.split(), *map(str, arguments)]
    if program.endswith(".py"):
        command[1] = str(ROOT / program)
    return subprocess.Popen(
        command,
        cwd=cwd or ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **SURROUNDINGS},
    )


def run(program, *arguments, cwd=None, fresh=False):
    process = start(program, *arguments, cwd=cwd, fresh=fresh)
    try:
        out, err = process.communicate(timeout=300)
    except BaseException:
        process.kill()
        raise
    return Ended(process.returncode, out, err)


def succeed(program, *arguments, cwd=None, fresh=False):
    ended = run(program, *arguments, cwd=cwd, fresh=fresh)
    assert ended.status == 0, ended.out + ended.err
    return ended


def refused(program, *arguments, cwd=None):
    """The one line that a mistake is answered with."""
    ended = run(program, *arguments, cwd=cwd)
    everything = ended.out + ended.err
    assert ended.status in (1, 2), everything
    assert "Traceback" not in everything
    lines = [line for line in everything.splitlines() if "error" in line.lower()]
    assert len(lines) == 1, everything
    return lines[0]
