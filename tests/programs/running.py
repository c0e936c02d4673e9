"""Runs the scripts as a person would, in processes of their own."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TINY = ("model.hdn=16", "model.rep=8", "trainer.max_epochs=2", "callbacks.progress=null")


@dataclass
class Ended:
    status: int
    out: str
    err: str


def run(program, *arguments, cwd=None):
    command = [sys.executable, *program.split(), *map(str, arguments)]
    if program.endswith(".py"):
        command[1] = str(ROOT / program)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    ended = subprocess.run(
        command,
        check=False,
        cwd=cwd or ROOT,
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def succeed(program, *arguments, cwd=None):
    ended = run(program, *arguments, cwd=cwd)
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


def start(program, *arguments):
    """A program that is not waited for; its errors can be read."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / program), *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
    )
