"""What a training says of its rows before it begins: in short, and nothing if all is well."""

import logging

from bidnn.data.datamodule import PairDataModule
from bidnn.doctor import SHORT, Finding, Level, Plan, examine
from bidnn.errors import counted
from bidnn.losses import LossConfig
from bidnn.model.model import Model
from bidnn.training.advice import Words
from bidnn.training.config import TrainConfig, made

log = logging.getLogger(__name__)

LINES = 3
SAID_ELSEWHERE = ("missing", "range")
"""By the line with the sizes, and by `CollapseCheck`."""


def plan_of(config: TrainConfig) -> Plan:
    """What a training is set to do with its rows."""
    loss = made(config.loss)
    return Plan(
        output=config.model.output,
        scaling=config.scaling,
        loss=loss if isinstance(loss, LossConfig) else None,
        incomplete_rows=loss.incomplete_rows,
        zeroes_are_data=bool(getattr(made(config.data), "ignore_zeroes", False)),
    )


def look_over(config: TrainConfig, data: PairDataModule, model: Model, words: Words) -> None:
    """Logs what a training should be told of its rows, the worst first.

    Args:
        config: its settings.
        data: its rows.
        model: its scaling fitted; not changed.
        words: how the caller writes a setting.
    """
    scalers = (model.first_scaler, model.second_scaler)
    # Fewer rows than a batch were warned of when they were split.
    few = ("pairs",) if len(data.train_rows) < config.data.batch_size else ()
    found = examine(
        data.store,
        plan_of(config),
        effort=SHORT,
        seed=config.seed,
        scalers=scalers,
        leave_out=(*SAID_ELSEWHERE, *few),
    )
    told = [f for level in (Level.fix, Level.look) for f in found if f.level is level]
    for finding in told[:LINES]:
        severity = logging.WARNING if finding.level is Level.fix else logging.INFO
        log.log(severity, "doctor: %s", in_one_line(finding, words))
    if len(told) > LINES:
        more = counted(len(told) - LINES, "further finding")
        log.info("doctor: %s, which bidnn doctor tells", more)


def in_one_line(finding: Finding, words: Words) -> str:
    """What was measured, and what fixes it."""
    remedy = finding.remedy(words)
    return finding.sentence + (f": {remedy}" if remedy else "")
