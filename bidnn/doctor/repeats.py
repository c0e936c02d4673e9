"""Columns and rows that say nothing, or nothing new: constant, of zeros, or as another one."""

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bidnn.doctor.findings import NAMES, Finding, Level, Plan, Settings, percent
from bidnn.doctor.sample import LEAST, Sample

SAME = 1e-6
"""A column whose spread is at most this share of its mean is constant, as `fit_scaling` has it."""
MANY_COLUMNS, MANY_ROWS, MANY_HALVES, MANY_ZEROS = 0.1, 0.01, 0.1, 0.01
"""Shares from which on it is worth a look."""


def constant_columns(sample: Sample) -> Finding:
    """Columns that are the same in all rows that have the modality."""
    return _columns(
        sample,
        "constant_columns",
        lambda values: constant(values).sum(),
        "constant",
        "leave them out when the features are made: they say nothing, and the loss is a mean over "
        "all columns",
    )


def repeated_columns(sample: Sample) -> Finding:
    """Columns that equal an earlier one and are not constant."""
    return _columns(
        sample,
        "repeated_columns",
        lambda values: repeats(values[:, ~constant(values)].T).sum(),
        "equal to another one",
        "leave them out when the features are made: the loss counts each of them",
    )


def zero_rows(sample: Sample, plan: Plan) -> Finding:
    """Rows of nothing but zeros that count as there."""
    shares = {
        name: float((~values.any(axis=1)).sum() / max(1, len(values)))
        for name, values in _parts(sample)
    }
    many = [name for name in NAMES if shares[name] >= MANY_ZEROS]
    level, only_if, advice = Level.fine, "", ""
    settings: Settings = ()
    said = " and ".join(f"{percent(shares[name])} of the {name}" for name in many or NAMES)
    said += f" modality's rows are all zeros, in {sample.words()}"
    if many:
        level, said = Level.look, f"{said}; they count as data"
        if plan.zeroes_are_data:
            settings = (("data.ignore_zeroes", "false"),)
            only_if = "zeros stand for a missing modality"
        else:
            advice = "mask them, or make them NaN, if zeros stand for a missing modality"
    return Finding(
        name="zero_rows",
        level=level,
        sentence=said,
        figures=shares,
        settings=settings,
        only_if=only_if,
        advice=advice,
    )


def repeated_rows(sample: Sample) -> list[Finding]:
    """Rows that equal another one, in both modalities or in one; nothing if there are no pairs."""
    store = sample.store
    complete = store.complete
    if not len(complete):
        return []
    pairs = np.concatenate(store.take(complete), axis=1)
    whole = repeats(pairs) & pairs.any(axis=1)
    shares = {"both": float(whole.mean())}
    for name, values in _parts(sample):
        varied = values[values.any(axis=1)]  # rows of zeros have a check of their own
        shares[name] = float(repeats(varied).sum() / max(1, len(values)))
    said = f"{int(whole.sum())} of {sample.words(len(complete))} repeat another in both modalities"
    halves = [name for name in NAMES if shares[name] >= MANY_HALVES]
    level, advice = Level.fine, ""
    if whole.sum() > 1 and shares["both"] >= MANY_ROWS:
        level, advice = Level.look, "leave the repetitions out"
        said += ", so that rows held out at random can be among those that train"
    elif halves and len(complete) >= LEAST:
        level = Level.look
        advice = "hold out whole items by data.val_path, if such rows are of one item"
        shown = " and ".join(f"{percent(shares[n])} repeat the {n} modality" for n in halves)
        said = f"of {sample.words()}, {shown} of another row, which rows held out at random can "
        said += "share with those that train"
    return [
        Finding(name="repeated_rows", level=level, sentence=said, figures=shares, advice=advice)
    ]


def constant(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(columns,) bool: those that do not vary, to rounding."""
    centre = values.mean(axis=0, dtype=np.float64)
    constant: NDArray[np.bool_] = values.std(axis=0, dtype=np.float64) <= SAME * np.abs(centre)
    return constant


def repeats(rows: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(rows,) bool: those that equal an earlier one."""
    seen = set[bytes]()
    found = np.zeros(len(rows), dtype=bool)
    for number, row in enumerate(rows):
        content = hashlib.blake2b((row + 0.0).tobytes(), digest_size=16).digest()  # -0.0 equals 0.0
        found[number] = content in seen
        seen.add(content)
    return found


def _columns(
    sample: Sample,
    check: str,
    count: Callable[[NDArray[np.float32]], np.integer],
    what: str,
    advice: str,
) -> Finding:
    figures, shown, much = {}, [], False
    for name, values in _parts(sample):
        found, size = int(count(values)) if len(values) > 1 else 0, values.shape[1]
        figures[name] = found
        much |= found >= MANY_COLUMNS * size and found > 0 and len(values) >= LEAST
        shown.append(f"{found} of {size} columns of the {name} modality")
    said = f"{' and '.join(shown)} are {what}, in {sample.words()}"
    return Finding(
        name=check,
        level=Level.look if much else Level.fine,
        sentence=said,
        figures=figures,
        advice=advice if much else "",
    )


def _parts(sample: Sample) -> list[tuple[str, NDArray[np.float32]]]:
    """By modality: its name, and the values of the rows that have it."""
    parts = zip(NAMES, sample.store.take(slice(None)), sample.store.present.T, strict=True)
    return [(name, part[has]) for name, part, has in parts]
