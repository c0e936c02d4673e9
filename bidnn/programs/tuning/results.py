"""What a study found: results.csv, a table, a picture, and the command line of the best trial."""

import logging
from collections.abc import Mapping
from pathlib import Path

from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from bidnn.errors import UserError, counted
from bidnn.evaluation.trials import Axis, Point, draw_trials
from bidnn.files import whole_file
from bidnn.programs.processes import called
from bidnn.programs.summary import Job, Sweep, as_csv, page_of, ranked, show
from bidnn.programs.tuning.space import Numbers
from bidnn.programs.tuning.study import ENDED, Study
from bidnn.report.comparison import lower_is_better

log = logging.getLogger(__name__)

CSV, PICTURE = "results.csv", "trials.png"
ENOUGH = 20
"""Trials that came to their end, before it is said how much each key matters."""


def conclude(study: Study, objective: str, settings: list[str], seed: int) -> None:
    """Says what the trials found, and draws it.

    Args:
        study: with its trials.
        objective: the metric.
        settings: of all trainings, as for `bidnn train`.
        seed: of them.

    Raises:
        UserError: if no trial came to its end.
    """
    trials, jobs = study.counted(), write_csv(study, objective)
    counts = {state: sum(trial.state is state for trial in trials) for state in TrialState}
    show(jobs, objective)
    importances = importances_of(study)
    draw(study, objective, importances, study.folder / PICTURE)
    log.info(
        "%s, %d pruned, %d failed: %s and %s",
        *(counted(len(jobs), "trial"), counts[TrialState.PRUNED], counts[TrialState.FAIL]),
        *(study.folder / CSV, PICTURE),
    )
    if counts[TrialState.RUNNING]:
        at_work = [t.user_attrs.get("worker", {}) for t in trials if t.state is TrialState.RUNNING]
        machines = ", ".join(sorted({str(worker.get("machine", "?")) for worker in at_work}))
        log.info("%d more are being trained, on %s", counts[TrialState.RUNNING], machines)
    if importances:
        shown = ", ".join(f"{key} {value:.2f}" for key, value in importances.items())
        log.info("how much each key matters, of 1 (PED-ANOVA): %s", shown)
    if not counts[TrialState.COMPLETE]:
        raise UserError(f"no trial came to its end; {study.folder / CSV} says why")
    if counts[TrialState.COMPLETE] > 1:
        page_of(Sweep(study.folder, objective, report=True))
    best = study.optuna.best_trial
    log.info(
        "the best is trial %d, %s %.4g; its model: %s",
        *(best.number, objective, best.value, study.folder_of(best)),
    )
    log.info("to train it alone: %s", command(study, best, settings, seed))


def write_csv(study: Study, objective: str) -> list[Job]:
    """Writes the trials that have ended, the best first."""
    jobs = ranked([_job(study, t) for t in study.counted() if t.state in ENDED], objective)
    with whole_file(study.folder / CSV) as file:
        file.write(as_csv(jobs, objective).encode())
    return jobs


def _job(study: Study, trial: FrozenTrial) -> Job:
    drawn = [f"{key}={study.space[key].typed(value)}" for key, value in trial.params.items()]
    return Job(
        trial.number,
        drawn,
        str(trial.user_attrs.get("reason", "")) if trial.state is not TrialState.COMPLETE else "",
        dict(trial.user_attrs.get("metrics", {})),
        failed=trial.state is TrialState.FAIL,
    )


def command(study: Study, trial: FrozenTrial, settings: list[str], seed: int) -> str:
    """What to type to train a trial alone; it has the same metrics."""
    drawn = [f"{key}={study.space[key].typed(value)}" for key, value in trial.params.items()]
    return called("train", [*settings, *drawn, f"seed={seed}"])


def importances_of(study: Study) -> dict[str, float]:
    """How much each key matters, the most important first; none of too few trials."""
    complete = [t for t in study.counted() if t.state is TrialState.COMPLETE]
    if len(complete) < ENOUGH or len({trial.value for trial in complete}) == 1:
        return {}
    return get_param_importances(study.optuna, evaluator=PedAnovaImportanceEvaluator())


def draw(study: Study, objective: str, importances: Mapping[str, float], path: Path) -> None:
    """Draws the trials that have ended.

    Args:
        study: with its trials.
        objective: the metric.
        importances: how much keys matter, where it is known.
        path: of the PNG.
    """
    trials = [trial for trial in study.counted() if trial.state in ENDED]
    points = [
        Point(trial.number, _value(trial), pruned=trial.state is TrialState.PRUNED)
        for trial in trials
    ]
    axes = []
    for key, found in study.space.items():
        title = f"{key}, matters {importances[key]:.2f}" if key in importances else key
        if isinstance(found, Numbers):
            drawn = [float(trial.params[key]) for trial in trials]
            axes.append(Axis(title, drawn, found.log))
        else:
            chosen = [found.typed(trial.params[key]) for trial in trials]
            axes.append(Axis(title, chosen, names=found.values))
    with whole_file(path) as file:
        draw_trials(file, objective, lower_is_better(objective), points, axes)


def _value(trial: FrozenTrial) -> float:
    """The objective of a trial, of a pruned one the last that it told; NaN if it failed."""
    if trial.state is TrialState.FAIL or trial.value is None:
        return float("nan")
    return float(trial.value)
