"""All checks of some rows, in the order in which one would make them."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import numpy as np

from bidnn.data.store import PairStore
from bidnn.doctor import content, relation, repeats, scale
from bidnn.doctor.findings import Finding, Level, Plan
from bidnn.doctor.sample import Sample
from bidnn.doctor.scale import STANDARD, Values
from bidnn.errors import UserError
from bidnn.model.scaling import ModalityScaler, ScalingConfig, ScalingKind, fit_scaling

Scalers = tuple[ModalityScaler, ModalityScaler]


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is looked at.

    Attributes:
        rows: at most, for what is looked at row by row.
        pairs: complete rows, at most, that are compared with each other.
        size: bytes of features, at most, of either.
        regress: also where neighbours tell already that the modalities belong together.
    """

    rows: int
    pairs: int
    size: int
    regress: bool


FULL = Effort(5000, 1000, 128 * 2**20, regress=True)
SHORT = Effort(2000, 500, 32 * 2**20, regress=False)


def examine(
    store: PairStore,
    plan: Plan,
    *,
    effort: Effort = FULL,
    seed: int = 0,
    scalers: Scalers | None = None,
    leave_out: Collection[str] = (),
) -> list[Finding]:
    """Findings of all levels.

    No global random numbers are drawn; the same seed looks at the same rows.

    Args:
        store: the rows.
        plan: what is set for the training.
        effort: how much is looked at.
        seed: of the sample and the permutations.
        scalers: as they are fitted for the training; None: they are fitted on the sample.
        leave_out: names of findings that are not wanted.
    """
    sample = Sample.of_rows(store, effort.rows, effort.size, seed)
    found = [
        content.pairs(store),
        content.missing(store, plan),
        repeats.zero_rows(sample, plan),
        repeats.constant_columns(sample),
        repeats.repeated_columns(sample),
        *repeats.repeated_rows(sample),
    ]
    found = [finding for finding in found if finding.name not in leave_out]
    if not sample.store.is_complete.any():
        return found
    try:
        scalers = scalers or fitted(sample, plan.scaling)
    except UserError as error:  # as the training will say, too
        return [*found, Finding(name="size", level=Level.fix, sentence=str(error))]
    found += of_scale(sample, scalers, plan, leave_out)
    pairs = Sample.of_pairs(store, effort.pairs, effort.size, seed)
    both = np.concatenate(pairs.store.take(slice(None)), axis=1)
    pairs = replace(pairs, store=pairs.store.load(np.flatnonzero(~repeats.repeats(both))))
    parts = scale.scaled(pairs, scalers)
    return found + relation.relation(pairs, parts, seed, regress=effort.regress)


def of_scale(
    sample: Sample, scalers: Scalers, plan: Plan, leave_out: Collection[str] = ()
) -> list[Finding]:
    """The checks of scaled values; what another scaling fixes already is not named again."""
    parts, later = scale.scaled(sample, scalers), None
    checks: tuple[Callable[[Sample, tuple[Values, Values], Plan], Finding | None], ...]
    checks = (scale.reach, scale.size, scale.one_column, scale.balance)
    found: list[Finding] = []
    for check in checks:
        finding = check(sample, parts, plan)
        if finding is None or finding.name in leave_out:
            continue
        if finding.level is not Level.fine and any(STANDARD[0] in f.settings for f in found):
            standard = ScalingConfig(kind=ScalingKind.standard, transform=plan.scaling.transform)
            later = later or scale.scaled(sample, fitted(sample, standard))
            then = check(sample, later, replace(plan, scaling=standard))
            assert then is not None
            finding = replace(finding, level=then.level, settings=then.settings)
        found.append(finding)
    return found


def fitted(sample: Sample, config: ScalingConfig) -> Scalers:
    """Scalers of a kind, fitted on a sample."""
    store = sample.store
    first, second = (
        ModalityScaler(size, config.kind, config.transform)
        for size in (store.mod1size, store.mod2size)
    )
    fit_scaling((first, second), store, np.arange(len(store)))
    return first, second
