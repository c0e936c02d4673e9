"""Whether one modality says anything of the other, beside what permuted pairs say."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bidnn.doctor.content import FEW, TOO_FEW
from bidnn.doctor.findings import NAMES, Finding, Level, percent
from bidnn.doctor.ridge import Centred, explained
from bidnn.doctor.sample import Sample
from bidnn.evaluation.agreement import (
    NEIGHBOURS,
    agreement,
    neighbours,
    neighbours_among_equals,
)

PERMUTATIONS, FITTED_PERMUTATIONS = 200, 5
"""Of the pairs, for neighbours and for ridge regression."""
LEAST_EXPLAINED, COPIED = 0.01, 0.99
UNRELATED = (
    "make sure that row i of either modality is of the same item; data=table joins two tables by id"
)

Values = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Against:
    """A figure, beside the same one of permuted pairs.

    Attributes:
        found: of the pairs as they are.
        permuted: of each permutation.
    """

    found: float
    permuted: NDArray[np.float64]

    @property
    def tells(self) -> bool:
        """Whether no permutation gives as much."""
        return bool(self.found > self.permuted.max())


def relation(
    sample: Sample, parts: tuple[Values, Values], seed: int, *, regress: bool = True
) -> list[Finding]:
    """What near rows of one modality, and a linear map of it, say of the other one.

    Args:
        sample: complete rows, no two the same.
        parts: them, scaled.
        seed: of the permutations.
        regress: also where neighbours tell already.

    Returns:
        `agreement` and, with regression, `translation`; neither for twenty rows or fewer.
    """
    if len(sample) <= TOO_FEW:
        return []
    generator = np.random.default_rng([seed, 0x706572])
    near = near_rows(parts, PERMUTATIONS, generator)
    if near.tells and not regress:
        return [_agreement(sample, near, mapped=True)]
    turned = [Centred.of(part) for part in parts]
    line = [linear(turned[i], turned[1 - i], FITTED_PERMUTATIONS, generator) for i in (0, 1)]
    mapped = any(_maps(way) for way in line)
    return [
        _agreement(sample, near, mapped=mapped),
        _translation(sample, line, related=near.tells or mapped),
    ]


def near_rows(
    parts: tuple[Values, Values], permutations: int, generator: np.random.Generator
) -> Against:
    """The agreement of the ten nearest by either modality, by the cosines of what is centred.

    Args:
        parts: of the same rows, more than twenty.
        permutations: how many.
        generator: draws them.
    """
    first, second = (part - part.mean(axis=0, dtype=np.float64) for part in parts)
    near, rows = neighbours(first), len(first)
    others = neighbours_among_equals(second, generator.permutation(rows))
    beside = np.zeros((rows, rows), dtype=bool)
    beside[np.arange(rows)[:, None], others] = True
    permuted = np.empty(permutations)
    for number in range(permutations):
        partner = generator.permutation(rows)  # row i of the first with row partner[i] of the other
        permuted[number] = beside[partner[:, None], partner[near]].mean()
    return Against(agreement(near, others), permuted)


def linear(
    source: Centred, target: Centred, permutations: int, generator: np.random.Generator
) -> Against:
    """The variance of the target that ridge regression explains, of rows that it has not seen."""
    values = target.coordinates
    permuted = [
        explained(source, values[generator.permutation(len(values))]) for _ in range(permutations)
    ]
    return Against(explained(source, values), np.array(permuted))


def _maps(way: Against) -> bool:
    return way.tells and way.found >= LEAST_EXPLAINED


def _agreement(sample: Sample, near: Against, *, mapped: bool) -> Finding:
    """What near rows say; `mapped`: a linear map says something."""
    rows, level, advice = len(sample), Level.fine, ""
    said = (
        f"of the ten nearest rows by one modality, {percent(near.found)} are among the ten nearest "
        f"by the other; in {PERMUTATIONS} permutations of the pairs "
        f"{percent(float(near.permuted.mean()))} on average and "
        f"{percent(float(near.permuted.max()))} at most"
    )
    if not near.tells and not mapped:
        level, advice = Level.fix if rows >= FEW else Level.look, UNRELATED
        said += ", and a linear map does not tell these pairs from permuted ones either"
    elif not near.tells:
        level = Level.look
        said += ": neighbours in one say nothing of neighbours in the other"
        advice = "see `agreement` after the training, which a network may have raised"
    return Finding(
        name="agreement",
        level=level,
        sentence=f"{said}; {sample.words()}",
        figures={
            "agreement": near.found,
            "chance": NEIGHBOURS / (rows - 1),
            "permuted_mean": float(near.permuted.mean()),
            "permuted_deviation": float(near.permuted.std()),
            "permuted_most": float(near.permuted.max()),
        },
        advice=advice,
    )


def _translation(sample: Sample, line: list[Against], *, related: bool) -> Finding:
    """What ridge regression explains, both ways; `related`: the modalities belong together."""
    ways = [f"{NAMES[i]} → {NAMES[1 - i]}" for i in (0, 1)]
    shown = ", ".join(
        f"{way} {percent(found.found)} (permuted pairs at most {percent(found.permuted.max())})"
        for way, found in zip(ways, line, strict=True)
    )
    said = f"ridge regression explains, of the variance of rows left out: {shown}"
    level, advice = Level.fine, ""
    if min(way.found for way in line) >= COPIED:
        level = Level.look
        advice = "make sure that they are not one and the same features"
        said += "; each modality is a linear function of the other, and says nothing besides"
    elif related and not all(_maps(way) for way in line):
        level = Level.look
        dark = " and ".join(name for name, way in zip(ways, line, strict=True) if not _maps(way))
        advice = "see what `variance explained by translation` says after the training"
        said += f"; no better than the mean by a linear map: {dark}"
    figures = {}
    for way, found in zip(("first_to_second", "second_to_first"), line, strict=True):
        figures[way] = found.found
        figures[f"{way}_permuted_most"] = float(found.permuted.max())
    return Finding(
        name="translation",
        level=level,
        sentence=f"{said}; {sample.words()}",
        figures=figures,
        advice=advice,
    )
