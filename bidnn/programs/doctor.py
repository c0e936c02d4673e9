"""`bidnn doctor`: measures rows, and says what is wrong with them and which settings fix it."""

import logging
import shlex
import sys
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig

from bidnn.data.store import PairStore
from bidnn.doctor import FULL, Finding, Level, examine
from bidnn.doctor.content import missing
from bidnn.doctor.examine import fitted, of_scale
from bidnn.doctor.sample import Sample
from bidnn.errors import UserError, counted
from bidnn.files import as_json, check_not_read, check_writable, whole_file
from bidnn.programs.config import DoctorConfig
from bidnn.programs.processes import own_folders
from bidnn.programs.quoting import setting
from bidnn.programs.rows import files_of, open_rows, source_of
from bidnn.programs.settings import compose_training
from bidnn.training.advice import SETTINGS
from bidnn.training.checkup import plan_of

log = logging.getLogger(__name__)

OWN = ("output.path", "doctor", "resume")
"""Settings of which a recommended training has its own."""
ROUNDS = 4


def run(config: DoctorConfig) -> None:
    """Prints the findings and the recommended command, and writes them if asked.

    Raises:
        UserError, OSError: naming what is wrong and the way out.
    """
    source, path = source_of(config.data), config.output.path
    if path is not None:
        check_not_read(Path(path), files_of(source), "output.path")
        check_writable(Path(path))
    store = open_rows(source, config.seed)
    findings = examine(store, plan_of(replace(config, data=source)), seed=config.seed)
    findings = [beside_recipe(finding, own_recipe()) for finding in findings]
    findings.sort(key=lambda finding: -list(Level).index(finding.level))
    show(store, findings)
    trains = store.is_complete.any()
    command = shlex.join(recommended(store, config.seed)) if trains else ""
    unfixed = [f.name for f in findings if f.level is Level.fix and not f.settings]
    if unfixed:
        log.info("no setting fixes what comes first: %s", ", ".join(unfixed))
    if command:
        log.info("recommended: %s", command)
    if path is not None:
        with whole_file(Path(path)) as file:
            file.write(written(Path(path), store, findings, command).encode())
        log.info("%s: %s", path, counted(len(findings), "finding"))


def recommended(store: PairStore, seed: int) -> list[str]:
    """The command line of a training with what the findings need, and nothing that is set already.

    A recipe that was asked for stays. Each round composes the settings so far and measures again
    what depends on them.
    """
    given = [o for o in HydraConfig.get().overrides.task if _key(o) not in OWN]
    folders = own_folders()
    sample = Sample.of_rows(store, FULL.rows, FULL.size, seed)
    for _ in range(ROUNDS):
        plan = plan_of(compose_training(given, {"run_dir": "."}, folders=[*map(Path, folders)]))
        findings = [] if own_recipe() else [missing(store, plan)]
        if not any(f.settings for f in findings) and sample.store.is_complete.any():
            try:
                findings = of_scale(sample, fitted(sample, plan.scaling), plan)
            except UserError:  # which is among the findings
                break
        needed = dict(pair for f in findings if not f.only_if for pair in f.settings)
        added = [setting(key, value) for key, value in needed.items()]
        if not set(added) - set(given):
            break
        given = [o for o in given if _key(o) not in needed] + added
    program = ["bidnn", "train"]
    if sys.argv[0].endswith(".py") and Path(sys.argv[0]).name != "__main__.py":
        program = ["python", str(Path(sys.argv[0]).with_name("train.py"))]
    return [*program, *(f"--config-dir={path}" for path in folders), *given]


def own_recipe() -> str:
    """The recipe that the command line asks for, `experiment=NAME`; empty if none."""
    given = [o for o in HydraConfig.get().overrides.task if _key(o) == "experiment"]
    return given[-1].lstrip("+") if given else ""


def beside_recipe(finding: Finding, own: str) -> Finding:
    """A finding that does not advise another recipe in place of the one that was asked for.

    Args:
        finding: as the rows and the settings have it.
        own: that recipe, as it was typed; empty if none.
    """
    other = [SETTINGS(*pair) for pair in finding.settings if pair[0] == "experiment"]
    if not own or not other:
        return finding
    kept = tuple(pair for pair in finding.settings if pair[0] != "experiment")
    advice = f"nothing, if {own} is what you want; such rows train with {other[0]}"
    if own in other:  # whose loss was set otherwise
        advice = f"leave the loss as {own} has it"
    return replace(finding, settings=kept, advice=advice)


def show(store: PairStore, findings: list[Finding]) -> None:
    """Prints a table: the level, the check, what was measured, and what fixes it."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(store.describe()), show_lines=True)
    table.add_column("")
    table.add_column("check")
    table.add_column("measured", ratio=3)
    table.add_column("what fixes it", ratio=1)
    colours = {Level.fine: "green", Level.look: "yellow", Level.fix: "red"}
    for finding in findings:
        level = f"[{colours[finding.level]}]{finding.level.value}[/]"
        texts = (finding.name, finding.sentence, finding.remedy(SETTINGS))
        table.add_row(level, *map(escape, texts))
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def written(path: Path, store: PairStore, findings: list[Finding], command: str) -> str:
    """The same facts, as JSON or Markdown by the name of the file."""
    if path.suffix == ".json":
        facts: list[dict[str, Any]] = [
            {
                **asdict(finding),
                "level": finding.level.value,
                "settings": [SETTINGS(*pair) for pair in finding.settings],
            }
            for finding in findings
        ]
        content = {
            "bidnn": version("bidnn"),
            "rows": store.describe(),
            "findings": facts,
            "command": command or None,
        }
        return as_json(content, indent=2) + "\n"
    lines = [
        f"# {store.describe()}",
        "",
        "| | check | measured | what fixes it |",
        "|---|---|---|---|",
    ]
    for finding in findings:
        cells = (finding.level.value, finding.name, finding.sentence, finding.remedy(SETTINGS))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    fenced = ["", "```", command, "```"] if command else []
    return "\n".join([*lines, *fenced, ""])


def _key(override: str) -> str:
    return override.lstrip("+~").split("=")[0].split("@")[0]
