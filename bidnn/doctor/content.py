"""How many rows there are to learn from, and what they miss; counted over all rows."""

from bidnn.data.store import PairStore
from bidnn.doctor.findings import Finding, Level, Plan, Settings, percent
from bidnn.errors import counted
from bidnn.evaluation.agreement import NEIGHBOURS

FEW, TOO_FEW = 100, 2 * NEIGHBOURS
"""Complete rows of which little, and nothing, can be measured."""
MANY_MISSING = 0.05


def pairs(store: PairStore) -> Finding:
    """How many rows have both modalities."""
    total, both = len(store), int(store.is_complete.sum())
    level, advice = Level.fine, ""
    said = f"{counted(total, 'row')} of {store.mod1size} + {store.mod2size} columns"
    said += f", {both} with both"
    if not both:
        level, advice = Level.fix, "rows that have both modalities are needed"
        said += " modalities: there is nothing to learn a translation from"
    elif both <= TOO_FEW:
        level, advice = Level.fix, "more rows that have both modalities are needed"
        said += " modalities: too few to measure whether one says anything of the other"
    elif both < FEW:
        level, advice = Level.look, "more rows that have both would make the figures surer"
        said += " modalities: what is measured of so few is uncertain"
    else:
        said += " modalities"
    figures = {"rows": total, "complete": both}
    return Finding(name="pairs", level=level, sentence=said, figures=figures, advice=advice)


def missing(store: PairStore, plan: Plan) -> Finding:
    """The shares of the rows that lack a modality, and whether these are of any use."""
    first, second = store.present.T
    counts = {
        "without_first": int((second & ~first).sum()),
        "without_second": int((first & ~second).sum()),
        "empty": int((~first & ~second).sum()),
    }
    shares = {name: count / max(1, len(store)) for name, count in counts.items()}
    lacking = ("lack the first modality", "lack the second", "lack both")
    parts = [
        f"{percent(share)} {what}"
        for share, what in zip(shares.values(), lacking, strict=True)
        if share
    ]
    said = f"of the rows, {', '.join(parts)}" if parts else "no row lacks a modality"
    level, advice = Level.fine, ""
    settings: Settings = ()
    some = shares["without_first"] + shares["without_second"]
    complete = len(store) - sum(counts.values())
    if some >= MANY_MISSING and not plan.incomplete_rows and complete >= FEW:
        level, settings = Level.look, (("experiment", "incomplete"),)
        said += "; rows with one modality do not train as it is set"
    if shares["empty"] >= MANY_MISSING:
        level, advice = Level.look, "leave rows that lack both out"
        said += "; the embedding of a row that lacks both is zero"
    return Finding(
        name="missing",
        level=level,
        sentence=said,
        figures=shares,
        settings=settings,
        advice=advice,
    )
