"""Runs the user's command after outputs are written, and reads metrics from what it prints."""

import json
import logging
import math
import os
import signal
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch.distributed.constants import default_pg_timeout

from bidnn.errors import CommandFailedError
from bidnn.model.command import VARIABLE, fill_command
from bidnn.model.outputs import OnFailure, OutputConfig, fill_epoch, output_path
from bidnn.training.callbacks.write_outputs import due
from bidnn.training.module import TrainingModule
from bidnn.training.signals import held_back

log = logging.getLogger(__name__)

LINE_BYTES = 2**16
LINES = 1000  # of a command that are logged
SHARE = 0.9
"""Of the time that other processes wait for the first one, which a command may take."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended.

    Attributes:
        failure: what went wrong, or None.
        metrics: of the JSON object in the last line that it printed; empty without one.
    """

    failure: str | None
    metrics: dict[str, float]


class RunCommand(Callback):
    """Runs `output.command` after each writing."""

    def __init__(self, config: OutputConfig) -> None:
        """Runs nothing yet."""
        self.config = config
        self.metrics: dict[str, float] = {}
        self._failure: CommandFailedError | None = None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops for the last epoch's command, now that its checkpoint is there.

        Raises:
            CommandFailedError: if it failed, and `on_failure` is `stop`.
        """
        self._stop_if_failed()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """At the interval; the metrics can steer early stopping and checkpoints."""
        if self.config.command and due(self.config, trainer):
            self._run(trainer, trainer.current_epoch + 1)
            assert isinstance(pl_module, TrainingModule)
            pl_module.log_metrics({k: torch.tensor(v) for k, v in self.metrics.items()})

    def on_result(self, trainer: Trainer, module: TrainingModule) -> None:
        """Once more at the end.

        Raises:
            CommandFailedError: if `on_failure` is `stop`, and it fails, or did at the last epoch.
        """
        del module
        self._stop_if_failed()
        if self.config.command:
            self._run(trainer, None)
            self._stop_if_failed()
            if self.metrics and trainer.logger is not None:
                trainer.logger.log_metrics(self.metrics, step=trainer.global_step)

    def _stop_if_failed(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _run(self, trainer: Trainer, epoch: int | None) -> None:
        outcome = Outcome(None, {})
        if trainer.is_global_zero:
            assert self.config.command
            output = output_path(self.config, epoch)
            command = fill_command(fill_epoch(self.config.command, epoch))
            if output.exists():
                log.info("running %s with %s=%s", command, VARIABLE, output)
                seconds, limit = self._limit(trainer)
                outcome = run_command(command, seconds, output, limit)
            else:
                log.warning("%s is not there, so that output.command is not run", output)
        outcome = trainer.strategy.broadcast(outcome)
        self.metrics = outcome.metrics
        if outcome.failure is None:
            return
        if self.config.on_failure is OnFailure.stop:
            self._failure = CommandFailedError(
                f"output.command {outcome.failure}; output.on_failure=warn would train on"
            )
            return
        log.warning("output.command %s; training goes on", outcome.failure)

    def _limit(self, trainer: Trainer) -> tuple[float, str]:
        """Seconds that a command has, and who says so: other processes wait for the first one."""
        asked = self.config.timeout_s, "output.timeout_s"
        if trainer.world_size == 1:
            return asked
        patience = getattr(trainer.strategy, "_timeout", default_pg_timeout).total_seconds()
        return min(asked, (SHARE * patience, f"{SHARE:.0%} of trainer.strategy.timeout"))


def run_command(
    command: str, timeout_s: float, output: Path, limit: str = "output.timeout_s"
) -> Outcome:
    """Runs a command by the shell in a session of its own, its output going to the log.

    Args:
        command: for `/bin/sh`.
        timeout_s: seconds after which it is ended.
        output: the file that was written, which the environment names.
        limit: the setting that says so.

    Returns:
        How it ended; whatever it left running was ended with it.
    """
    last: list[str] = []
    failure: str | None = None
    process: subprocess.Popen[bytes] | None = None
    try:
        with held_back():  # a signal now would leave a command that nobody knows of
            process = subprocess.Popen(  # the command is the user's own
                command,
                shell=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, VARIABLE: str(output)},
            )
            assert process.stdout is not None
            reader = threading.Thread(target=_log_lines, args=(process.stdout, last), daemon=True)
            reader.start()
        status = process.wait(timeout_s)
        if status:
            failure = (
                f"was ended by signal {-status}" if status < 0 else f"exited with status {status}"
            )
    except subprocess.TimeoutExpired:
        failure = f"was ended after {limit}={timeout_s:g} seconds"
    finally:
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            reader.join(timeout=5.0)
    if failure is None:
        log.info("output.command exited with status 0")
    return Outcome(failure, _metrics(last[0]) if last and failure is None else {})


def _log_lines(stream: IO[bytes], last: list[str]) -> None:
    count = 0
    with stream:
        while line := stream.readline(LINE_BYTES):
            text = line.decode("utf-8", errors="replace").rstrip()
            if text:
                count += 1
                if count <= LINES:
                    log.info("| %s", text)
                last[:] = [text]
    if count > LINES:
        log.info("| … and %d lines more, of which the last is: %s", count - LINES, last[0][:200])


def _metrics(line: str) -> dict[str, float]:
    """The finite numbers of a JSON object; empty if the line is none."""
    try:
        content = json.loads(line)
    except ValueError:
        return {}
    if not isinstance(content, dict):
        return {}
    numbers = {k: v for k, v in content.items() if type(v) in (int, float)}
    return {name: float(value) for name, value in numbers.items() if math.isfinite(value)}
