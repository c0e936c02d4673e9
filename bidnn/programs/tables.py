"""What `compare` found, as tables and a picture."""

import csv
import io
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any, TypeAlias

from bidnn.evaluation.curve import draw_curves
from bidnn.evaluation.mixed import KINDS
from bidnn.files import readable, whole_file

log = logging.getLogger(__name__)

DRAWN = ("map", "accuracy", "error")
"""Not agreement: chance and what is asked differ between missing rates."""
RANKED = {"agreement": "agreement", "map": "mAP"}
"""The metrics that say which method is best, and their names for people."""

Means: TypeAlias = dict[str, tuple[float, float]]
"""Mean and deviation by metric."""


@dataclass(frozen=True, slots=True)
class Result:
    """One method on one mask.

    Attributes:
        method: its name.
        rate: the missing rate.
        seed: of the mask and the training.
        metrics: by name; none where it failed.
        failure: why it failed; empty where it did not.
        mixed: by kind of query, the metrics of a pool of rows with one modality and rows with two.
    """

    method: str
    rate: float
    seed: int
    metrics: dict[str, float] = field(default_factory=dict)
    failure: str = ""
    mixed: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Summary:
    """One method at one missing rate, over all seeds.

    Attributes:
        means: of the runs that did not fail.
        failures: how many failed, and why; empty where none did.
        whole: whether none did.
    """

    means: Means
    failures: str = ""

    @property
    def whole(self) -> bool:
        """Whether the means are of all seeds, as another method's are."""
        return not self.failures


def write_tables(folder: Path, results: Sequence[Result]) -> None:
    """Writes the results of all runs, runs.csv, and their means, table.csv and table.md.

    Where mixed pools were measured, likewise mixed.csv, of all runs, and mixed.md, means.
    """
    names = _names(results)
    with whole_file(folder / "runs.csv") as file:
        rows = [
            [r.method, r.rate, r.seed, *(r.metrics.get(n) for n in names), r.failure]
            for r in results
        ]
        file.write(_csv([["method", "rate", "seed", *names, "failure"], *rows]))
    summaries = summarise(results)
    header = ["method", "rate", *(f"{n} {what}" for n in names for what in ("mean", "deviation"))]
    lines = [
        [*key, *(v for n in names for v in found.means.get(n, (None, None))), found.failures]
        for key, found in summaries.items()
    ]
    with whole_file(folder / "table.csv") as file:
        file.write(_csv([[*header, "failure"], *lines]))
    with whole_file(folder / "table.md") as file:
        file.write(_markdown(names, summaries, spread=_several_seeds(results)).encode())
    by_query = {
        kind: [Result(r.method, r.rate, r.seed, r.mixed[kind]) for r in results if kind in r.mixed]
        for kind in KINDS
    }
    if any(by_query.values()):
        _write_mixed(folder, by_query)


def _write_mixed(folder: Path, by_query: dict[str, list[Result]]) -> None:
    """A line a run and kind of query, and the means over the seeds."""
    every = [result for found in by_query.values() for result in found]
    names = ["ndcg@10", "pair_recall@10", *(f"share {kind}" for kind in KINDS)]
    names = [name for name in names if name in _names(every)]
    with whole_file(folder / "mixed.csv") as file:
        rows = [
            [r.method, r.rate, r.seed, kind, *(r.metrics.get(n) for n in names)]
            for kind, found in by_query.items()
            for r in found
        ]
        file.write(_csv([["method", "rate", "seed", "query", *names], *rows]))
    summaries = {kind: summarise(found) for kind, found in by_query.items()}
    spread = _several_seeds(every)
    lines = [
        [key[0], f"{key[1]:g}", kind, *_cells(names, summaries[kind][key], spread=spread)]
        for key in summarise(every)
        for kind in KINDS
        if key in summaries[kind]
    ]
    with whole_file(folder / "mixed.md") as file:
        file.write(_table(["method", "missing", "query", *names], lines).encode())


def read_results(folder: Path) -> list[Result]:
    """The results that `write_tables` wrote, but for those that failed; none if there is no file.

    Raises:
        UserError: if a file is damaged.
    """
    mixed: dict[tuple[str, float, int], dict[str, dict[str, float]]] = {}
    for key, row in _read(folder / "mixed.csv", "table of mixed pools"):
        query = row.pop("query")
        mixed.setdefault(key, {})[query] = _numbers(row)
    results = []
    for key, row in _read(folder / "runs.csv", "table of runs"):
        if not row.pop("failure"):
            results.append(Result(*key, _numbers(row), mixed=mixed.get(key, {})))
    return results


def _read(path: Path, what: str) -> Iterator[tuple[tuple[str, float, int], dict[str, str]]]:
    """The lines of a file, by method, rate and seed; none if there is no file."""
    if path.is_file():
        with readable(path, what), path.open(newline="") as file:
            for row in csv.DictReader(file):
                yield (row.pop("method"), float(row.pop("rate")), int(row.pop("seed"))), row


def _numbers(row: dict[str, str]) -> dict[str, float]:
    return {name: float(value) for name, value in row.items() if value}


def write_picture(folder: Path, results: Sequence[Result]) -> None:
    """Draws curve.png: the metrics of `DRAWN` against the missing rate."""
    summaries = summarise(results)
    with whole_file(folder / "curve.png") as file:
        draw_curves(file, {name: _curve(name, summaries) for name in DRAWN})


def log_best(results: Sequence[Result]) -> None:
    """Says which method is best at each missing rate, by each metric of `RANKED` that there is.

    A method that failed on a mask is left out there: its mean is not of the same masks. Where
    nothing is hidden, agreement is with what a method was shown, and says nothing of it.
    """
    summaries = summarise(results)
    for metric, name in RANKED.items():
        for rate in dict.fromkeys(rate for _, rate in summaries):
            if metric == "agreement" and not rate:
                continue
            means = {
                method: found.means[metric][0]
                for (method, at), found in summaries.items()
                if at == rate and found.whole and metric in found.means
            }
            order = sorted(means, key=lambda method: -means[method])
            if not order:
                continue
            after = f", then {order[1]} {means[order[1]]:.3f}" if len(order) > 1 else ""
            log.info(
                "best by %s at rate %g: %s %.3f%s", name, rate, order[0], means[order[0]], after
            )


def summarise(results: Sequence[Result]) -> dict[tuple[str, float], Summary]:
    """By method and missing rate, in the order of the results."""
    groups: dict[tuple[str, float], list[Result]] = {}
    for result in results:
        groups.setdefault((result.method, result.rate), []).append(result)
    names = _names(results)
    summaries = {}
    for key, members in groups.items():
        values = {n: [m.metrics[n] for m in members if n in m.metrics] for n in names}
        reasons = [m.failure for m in members if m.failure]
        failures = "; ".join(dict.fromkeys(reasons))
        if reasons:
            failures = f"{len(reasons)} of {len(members)} failed: {failures}"
        summaries[key] = Summary(
            {n: (fmean(v), pstdev(v)) for n, v in values.items() if v}, failures
        )
    return summaries


def _names(results: Sequence[Result]) -> list[str]:
    return list(dict.fromkeys(name for result in results for name in result.metrics))


def _csv(rows: list[list[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _markdown(
    names: list[str], summaries: dict[tuple[str, float], Summary], *, spread: bool
) -> str:
    failed = any(found.failures for found in summaries.values())
    lines = []
    for (method, rate), found in summaries.items():
        reasons = [found.failures.replace("|", "\\|")] if failed else []
        lines.append([method, f"{rate:g}", *_cells(names, found, spread=spread), *reasons])
    return _table(["method", "missing", *names, *(["failure"] if failed else [])], lines)


def _cells(names: list[str], found: Summary, *, spread: bool) -> list[str]:
    """Mean of each metric, and its deviation over several seeds; nothing where it is not known."""
    form = "{:.3f} ± {:.3f}" if spread else "{:.3f}"
    return [form.format(*found.means[n]) if n in found.means else "" for n in names]


def _several_seeds(results: Sequence[Result]) -> bool:
    return len({result.seed for result in results}) > 1


def _table(header: list[str], lines: list[list[str]]) -> str:
    head, *rows = (f"| {' | '.join(row)} |\n" for row in [header, *lines])
    return "".join([head, "|---" * len(header) + "|\n", *rows])


def _curve(
    name: str, summaries: dict[tuple[str, float], Summary]
) -> dict[str, list[tuple[float, float, float]]]:
    """By method: rate, mean and deviation of one metric, the rates ascending."""
    curves: dict[str, list[tuple[float, float, float]]] = {}
    for (method, rate), found in sorted(summaries.items(), key=lambda item: item[0][1]):
        if name in found.means:
            curves.setdefault(method, []).append((rate, *found.means[name]))
    order = dict.fromkeys(method for method, _ in summaries)
    return {method: curves[method] for method in order if method in curves}
