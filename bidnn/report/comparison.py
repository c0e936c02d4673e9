"""Several runs side by side, as of a sweep: which was best, and which setting mattered."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bidnn.errors import UserError
from bidnn.files import readable
from bidnn.report.folder import TRIALS, Run
from bidnn.report.page import write_page

LEAST_RUNS, LEAST_BY_RANK, SPARE = 4, 6, 2
"""Runs without which nothing is said of a setting; and more than it has values, at least."""
DRAWN, SHOWN = 8, 200
NOT_SETTINGS = ("run_dir", "resume", "report", "objective")
OTHERS = ("val/loss", "explained/first_to_second", "explained/second_to_first", "agreement")


def write_comparison(path: Path, runs: Sequence[Run], objective: str | None = None) -> Path:
    """Writes the page of several runs.

    Args:
        path: the page.
        runs: at least two.
        objective: see `facts`.

    Raises:
        UserError, OSError: if no run has the objective, or the page cannot be written.
    """
    write_page(path, facts(runs, objective, title=path.resolve().parent.name))
    return path


def facts(runs: Sequence[Run], objective: str | None = None, title: str = "") -> dict[str, Any]:
    """All that the page says, as plain data.

    Args:
        runs: as they were read.
        objective: the metric to compare by; None: the runs' own, which must be one.
        title: of the page.

    Returns:
        `runs`, the best first, those without the objective last; `keys`, the settings in which they
        differ; `matters`, see `shares`; `curves`, of the best.

    Raises:
        UserError: if the runs have different objectives, or none has the metric.
    """
    objective = objective or _objective(runs)
    if not any(objective in run.metrics for run in runs):
        known = ", ".join(sorted({name for run in runs for name in run.metrics})) or "none"
        raise UserError(f"objective={objective}: no run has this metric; there are {known}")
    lower, settings = lower_is_better(objective), _settings(runs)
    sign = 1 if lower else -1
    values = [run.metrics.get(objective, math.nan) for run in runs]
    order = sorted(range(len(runs)), key=lambda n: (math.isnan(values[n]), sign * values[n], n))
    names = _names([run.folder for run in runs])
    drawn = next(
        (m for m in (objective, "val/loss", "train/loss") if any(run.series(m) for run in runs)),
        objective,
    )
    parents = {run.folder.parent for run in runs}
    places = {place.parent if place.name == TRIALS else place for place in parents}
    failures = dict(failed for place in places for failed in _failures(place))
    there = {run.folder.name for run in runs}
    best = order[0]
    return {
        "kind": "comparison",
        "title": title or f"{len(runs)} runs",
        "objective": objective,
        "lower": lower,
        "keys": list(settings),
        "also": {key: also for key, (also, _) in settings.items()},
        "metrics": [m for m in OTHERS if m != objective and any(m in r.metrics for r in runs)],
        "runs": [
            {
                "name": names[n],
                "settings": [told[n] for _, told in settings.values()],
                "objective": values[n],
                "metrics": {m: runs[n].metrics[m] for m in OTHERS if m in runs[n].metrics},
                "failure": ""
                if runs[n].metrics
                else failures.get(runs[n].folder.name, "not finished"),
            }
            for n in order[:SHOWN]
        ],
        "count": len(runs),
        "failed": [[name, text] for name, text in failures.items() if name not in there],
        "drawn": drawn,
        "curves": [
            [names[n], [e for e, _ in found], [v for _, v in found]]
            for n in order[:DRAWN]
            if (found := runs[n].series(drawn))
        ],
        "matters": shares({key: told for key, (_, told) in settings.items()}, values, lower=lower),
        "other_rows": len({str((run.record.get("data") or {}).get("fingerprint")) for run in runs})
        > 1,
        "best": {
            "name": names[best],
            "command": runs[best].command,
            "folder": str(runs[best].folder),
        },
    }


def lower_is_better(objective: str) -> bool:
    """Whether it is a loss or an error: those of `train/` and `val/`, and what says so."""
    return objective.startswith(("train/", "val/")) or "error" in objective or "loss" in objective


def shares(
    settings: Mapping[str, Sequence[str]], objective: Sequence[float], *, lower: bool
) -> list[dict[str, Any]]:
    """Of the variance of the objective between runs, the share that goes with each setting.

    Runs with the same value of a setting are a group, and the share is that of the variance between
    groups, adjusted for their number as R² is adjusted: 1 − (1 − R²)(n − 1)/(n − k) with n runs and
    k values, at least 0 (ε²; Kelley, 1935). Where numbers hardly recur, as in a random search, R²
    is the squared rank correlation (Spearman's), with k = 2. Each setting is taken alone, so that
    shares of settings that were not varied independently overlap.

    Args:
        settings: by key, the values of each run.
        objective: of each run; NaN where there is none, and the run is left out.
        lower: whether the lowest is the best.

    Returns:
        The greatest first, by key: `share`, None where there are too few runs for it; `how`,
        `value` or `rank`; `values`, each with `value`, `runs`, `mean`, `best`, the best mean first.
    """
    known = [n for n, value in enumerate(objective) if math.isfinite(value)]
    scores = np.array([objective[n] for n in known], dtype=np.float64)
    found = []
    for key, told in settings.items():
        own = [told[n] for n in known]
        share, how = _share(own, scores)
        groups = {v: scores[[o == v for o in own]] for v in dict.fromkeys(own)}
        means = {value: float(group.mean()) for value, group in groups.items()}
        rows = [
            {
                "value": value,
                "runs": len(groups[value]),
                "mean": means[value],
                "best": float(groups[value].min() if lower else groups[value].max()),
            }
            for value in sorted(means, key=lambda v: means[v] if lower else -means[v])
        ]
        found.append({"key": key, "share": share, "how": how, "values": rows[:20]})
    return sorted(found, key=lambda entry: (entry["share"] is None, -(entry["share"] or 0.0)))


def _share(told: Sequence[str], scores: np.ndarray[Any, Any]) -> tuple[float | None, str]:
    count, total = len(scores), float(((scores - scores.mean()) ** 2).sum()) if len(scores) else 0.0
    if count < LEAST_RUNS or total <= 0:
        return None, ""
    values = list(dict.fromkeys(told))
    if len(values) < 2:
        return None, ""
    if count - len(values) >= SPARE:
        codes = np.array([values.index(value) for value in told])
        means = np.bincount(codes, scores) / np.bincount(codes)
        inside = float(((scores - means[codes]) ** 2).sum())
        return _adjusted(1 - inside / total, count, len(values)), "value"
    numbers = [_number(value) for value in told]
    if count < LEAST_BY_RANK or any(number is None for number in numbers):
        return None, ""
    from scipy.stats import spearmanr

    return _adjusted(float(spearmanr(numbers, scores).statistic) ** 2, count, 2), "rank"


def _adjusted(share: float, count: int, groups: int) -> float:
    return max(0.0, 1 - (1 - share) * (count - 1) / (count - groups))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _settings(runs: Sequence[Run]) -> dict[str, tuple[list[str], list[str]]]:
    """The settings in which runs differ; of those that differ alike the first names the others.

    Returns:
        By key, the others, and the value of each run.
    """
    flat = [run.flat() for run in runs]
    own = [str(run.setting("run_dir")) for run in runs]
    found: dict[str, tuple[list[str], list[str]]] = {}
    alike: dict[tuple[int | str, ...], str] = {}
    for key in dict.fromkeys(key for settings in flat for key in settings):
        told = [_text(settings.get(key)) for settings in flat]
        names_folder = any(folder in text for folder, text in zip(own, told, strict=True))
        if key in NOT_SETTINGS or names_folder or len(set(told)) < 2:
            continue
        values = list(dict.fromkeys(told))
        parts = tuple(told) if _hardly_recur(told) else tuple(values.index(text) for text in told)
        if parts in alike:
            found[alike[parts]][0].append(key)
        else:
            alike[parts] = key
            found[key] = ([], told)
    return found


def _hardly_recur(told: Sequence[str]) -> bool:
    """Whether they are numbers as a random search draws them, which differ from run to run."""
    few = len(told) >= LEAST_RUNS and len(told) - len(set(told)) < SPARE
    return few and all(_number(value) is not None for value in told)


def _text(value: Any) -> str:  # noqa: ANN401 — any setting
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _objective(runs: Iterable[Run]) -> str:
    asked = {str(run.setting("objective")) for run in runs}
    if len(asked) > 1:
        raise UserError(
            f"the runs have different objectives ({', '.join(sorted(asked))}); objective=METRIC "
            "says which to compare them by"
        )
    return asked.pop()


def _names(folders: Sequence[Path]) -> list[str]:
    """The last part of each path, or as many as tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(own[-count:]) for own in parts]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def _failures(sweep: Path) -> list[tuple[str, str]]:
    """By the name of a run's folder, why it failed, as a sweep's table says."""
    path = sweep / "results.csv"
    if not path.is_file():
        return []
    with readable(path, "table of a sweep"), path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [(row["run"], row["failure"]) for row in rows if row.get("failure")]
