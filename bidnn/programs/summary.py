"""What a sweep found: a table of its runs, the best first, and results.csv beside them."""

import csv
import io
import json
import logging
import math
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from bidnn.errors import counted
from bidnn.files import as_json, whole_file
from bidnn.programs.messages import one_line
from bidnn.report.comparison import lower_is_better
from bidnn.training.given import Given
from bidnn.training.resuming import read_metrics

log = logging.getLogger(__name__)

NOTE = ".job-{}.json"
"""In the folder of the sweep, until it ends."""
SWEPT = "BIDNN_SWEPT"
"""In the environment of a sweep's runs: the keys that differ."""
LONGEST = 60
"""Characters of a reason in a table."""
SHOWN = 50
"""Runs in the table that is printed, at most."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a sweep.

    Attributes:
        number: from 0.
        overrides: what its command line would be.
        failure: why it failed, or was ended before its end; empty if neither.
        metrics: its last ones, by name.
        failed: with a failure, whether it is one.
    """

    number: int
    overrides: list[str]
    failure: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    failed: bool = True

    @property
    def settings(self) -> dict[str, str]:
        """The overrides by key."""
        return {key: value for key, _, value in (o.partition("=") for o in self.overrides)}


@dataclass(slots=True)
class Sweep:
    """The sweep that this process started.

    Attributes:
        folder: of all its runs.
        objective: the metric that runs are compared by.
        report: whether it gets a page.
    """

    folder: Path
    objective: str
    report: bool


started: list[Sweep] = []


class NoteJobs(Callback):
    """Notes what each run of a sweep was told, and whether it failed; called by Hydra."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:  # noqa: ANN401 — Hydra's
        """In the process of the sweep."""
        folder = Path(config.hydra.sweep.dir)
        for path in folder.glob(NOTE.format("*")):  # of a sweep that was killed in this folder
            path.unlink()
        started[:] = [Sweep(folder, str(config.objective), bool(config.report))]
        # Hydra tells a run what is set for it, not what of it is swept, and it may be another
        # process.
        os.environ[SWEPT] = " ".join(swept_keys(config))

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:  # noqa: ANN401 — Hydra's
        """In the process of the run."""
        del config
        hydra = job_return.hydra_cfg
        if hydra is None or hydra.hydra.mode is None or hydra.hydra.mode.name != "MULTIRUN":
            return
        failed = job_return.status is not JobStatus.COMPLETED
        noted = {
            "number": int(hydra.hydra.job.num),
            "overrides": list(hydra.hydra.overrides.task),
            "folder": str(hydra.hydra.runtime.output_dir),
            "failure": one_line(job_return._return_value) if failed else "",
        }
        # Not sweep.dir, which Hydra has copied without what its resolvers gave: it would be anew.
        folder = Path(hydra.hydra.runtime.output_dir)
        for _part in Path(str(hydra.hydra.sweep.subdir)).parts:
            folder = folder.parent
        with whole_file(folder / NOTE.format(hydra.hydra.job.num)) as file:
            file.write(as_json(noted).encode())


def swept_keys(config: DictConfig) -> list[str]:
    """The keys that a sweep's command line, or `hydra.sweeper.params`, gives more than one value.

    Args:
        config: of the sweep, as Hydra has it.
    """
    given = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
    params = OmegaConf.select(config, "hydra.sweeper.params") or {}
    return [*params, *(str(o.key_or_group) for o in given if o.is_sweep_override())]


def chosen_here() -> Given:
    """What was set for the run of this process."""
    hydra = HydraConfig.get()
    sweep = hydra.mode is RunMode.MULTIRUN
    swept = os.environ.get(SWEPT, "").split() if sweep else []
    return Given.of(hydra.overrides.task, swept)


def summarize() -> None:
    """Prints the table of the sweep that has ended, and writes results.csv."""
    if not started:
        return
    sweep = started.pop()
    jobs = ranked(read_jobs(sweep.folder), sweep.objective)
    if not jobs:
        return
    path = sweep.folder / "results.csv"
    with whole_file(path) as file:
        file.write(as_csv(jobs, sweep.objective).encode())
    for job in jobs:
        (sweep.folder / NOTE.format(job.number)).unlink(missing_ok=True)
    show(jobs, sweep.objective)
    failed = sum(bool(job.failure) for job in jobs)
    log.info("%s, %d failed: %s", counted(len(jobs), "run"), failed, path)
    if sweep.report:
        page_of(sweep)


def page_of(sweep: Sweep) -> None:
    """Writes the page of the sweep; whatever fails, its runs and its table are kept."""
    from bidnn.report.comparison import write_comparison
    from bidnn.report.folder import Run, runs_in
    from bidnn.report.run import FILE

    try:
        runs = [Run.read(folder) for folder in runs_in(sweep.folder)]
        log.info("report: %s", write_comparison(sweep.folder / FILE, runs, sweep.objective))
    except Exception as error:  # noqa: BLE001 — a report that fails loses no run
        log.warning("no report (%s); bidnn report %s would make it", one_line(error), sweep.folder)


def read_jobs(folder: Path) -> list[Job]:
    """The runs of a sweep, in their order."""
    jobs = []
    for path in folder.glob(NOTE.format("*")):
        noted = json.loads(path.read_text())
        metrics = read_metrics(Path(noted["folder"])) if not noted["failure"] else None
        jobs.append(Job(noted["number"], noted["overrides"], noted["failure"], metrics or {}))
    return sorted(jobs, key=lambda job: job.number)


def swept(jobs: list[Job]) -> list[str]:
    """The settings in which they differ."""
    keys = list(dict.fromkeys(key for job in jobs for key in job.settings))
    return [key for key in keys if len({job.settings.get(key) for job in jobs}) > 1]


def ranked(jobs: list[Job], objective: str) -> list[Job]:
    """The best first; those that failed, or lack the objective, last."""
    sign = 1 if lower_is_better(objective) else -1

    def place(job: Job) -> tuple[bool, float, int]:
        value = job.metrics.get(objective, math.nan)
        return math.isnan(value), 0.0 if math.isnan(value) else sign * value, job.number

    return sorted(jobs, key=place)


def as_csv(jobs: list[Job], objective: str) -> str:
    """Run, swept settings, objective, all other metrics and failure, a line a run."""
    keys = swept(jobs)
    others = sorted({name for job in jobs for name in job.metrics} - {objective})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", *keys, objective, *others, "failure"])
    for job in jobs:
        values = [job.metrics.get(name, "") for name in (objective, *others)]
        writer.writerow(
            [job.number, *(job.settings.get(k, "") for k in keys), *values, job.failure]
        )
    return text.getvalue()


def show(jobs: list[Job], objective: str) -> None:
    """Prints the table."""
    from rich.console import Console
    from rich.table import Table

    keys, better = swept(jobs), "lower" if lower_is_better(objective) else "higher"
    table = Table("run", *keys, f"{objective} ({better} is better)")
    for job in jobs[:SHOWN]:
        value = job.metrics.get(objective)
        reason = f"failed: {_cut(job.failure)}" if job.failed else job.failure
        shown = f"{value:.4g}" if value is not None else reason
        settings = (short(job.settings.get(key, "")) for key in keys)
        table.add_row(str(job.number), *settings, shown)
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _cut(reason: str) -> str:
    """As much of a reason as a table has room for."""
    return reason if len(reason) <= LONGEST else f"{reason[: LONGEST - 1]}…"


def short(value: str) -> str:
    """A value for a table: numbers of many digits to four."""
    try:
        return f"{float(value):.4g}" if len(value) > 8 else value
    except ValueError:
        return value
