"""Who is near to whom in the embedding: neighbours of some rows, and of rows of different kinds."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bidnn.data.store import PairStore
from bidnn.evaluation.agreement import neighbours
from bidnn.evaluation.comparability import comparability
from bidnn.evaluation.labels import labelled, labelled_rows
from bidnn.evaluation.mixed import LEAST, mixed_pool, no_pool
from bidnn.model.inference import embed
from bidnn.model.model import Model
from bidnn.report.embedded import kinds, shown, unit

EXAMPLES, NEAREST, DEPTH = 6, 5, 10
OF_A_KIND = 400
"""Rows of each kind that are compared with each other, at most."""
HIDDEN = np.array([[True, True], [True, False], [False, True]])


def nearest(
    vectors: NDArray[np.float32],
    rows: PairStore,
    numbers: NDArray[np.int64],
    generator: np.random.Generator,
) -> dict[str, Any]:
    """The nearest rows of some rows, by cosine, within a sample.

    Args:
        vectors: (rows, size), the embedding.
        rows: the same rows; each has one modality at least.
        numbers: of the rows in their file, from 0, which stand for ids where there are none.
        generator: of the examples.

    Returns:
        `examples`, of each kind of row as many where there are; `of`, how many rows were searched;
        with labels, `same`, the share of the ten nearest that have a row's label, and `chance`,
        among the rows that have one.
    """
    count = min(DEPTH, len(rows) - 1)
    near = neighbours(vectors, count)
    units = unit(vectors)
    kind = kinds(rows.present)
    each = [generator.permutation(np.flatnonzero(kind == number)) for number in range(3)]
    turns = [own[turn] for turn in range(EXAMPLES) for own in each if turn < len(own)]
    named = np.zeros(len(rows), bool) if rows.labels is None else labelled(rows.labels)

    def row(place: int) -> dict[str, Any]:
        return {
            "id": f"row {numbers[place]}" if rows.ids is None else shown(rows.ids[place]),
            "label": shown(rows.labels[place])
            if rows.labels is not None and named[place]
            else None,
            "kind": int(kind[place]),
        }

    examples = [
        {
            **row(place),
            "near": [
                {**row(n), "cosine": round(float(units[place] @ units[n]), 4)}
                for n in near[place][:NEAREST]
            ],
        }
        for place in turns[:EXAMPLES]
    ]
    found: dict[str, Any] = {"examples": examples, "of": len(rows), "depth": count}
    return found if rows.labels is None else found | _by_label(near, vectors, rows.labels)


def _by_label(
    near: NDArray[np.int64], vectors: NDArray[np.float32], labels: NDArray[np.str_]
) -> dict[str, float]:
    """How often the nearest have a row's label, and how often by chance; nothing of one row."""
    known, names = labelled_rows(vectors, labels)
    rows = len(names)
    if rows < 2:
        return {}
    if rows < len(labels):
        near = neighbours(known, min(DEPTH, rows - 1))
    sizes = np.unique(names, return_counts=True)[1].astype(np.float64)
    pairs = float((sizes * (sizes - 1)).sum()) / (rows * (rows - 1))
    return {"same": float((names[near] == names[:, None]).mean()), "chance": pairs}


def comparable(
    model: Model, vectors: NDArray[np.float32], rows: PairStore, seed: int
) -> dict[str, Any] | None:
    """Whether complete and incomplete rows find each other in one search.

    Where too few rows miss a modality, a third of the complete ones is shown the model without
    the second, a third without the first.

    Args:
        model: trained.
        vectors: (rows, size), the embedding.
        rows: the same rows, in random order; each has one modality at least.
        seed: of the samples.

    Returns:
        `hidden`, whether modalities were hidden for it; `shares`, by kind of query, how often
        others are among its ten nearest, as a multiple of chance; `cosines`, by pair of kinds,
        `mean`, `low` and `high`, between which nine tenths lie; `favour`, by kind of query, how
        often incomplete rows are among its ten nearest, likewise. None for too few rows.
    """
    present = rows.present
    whole = np.flatnonzero(present.all(axis=1))
    few = min(len(whole), len(present) - len(whole)) < LEAST
    hidden = few or bool(no_pool(present))
    if hidden:
        whole = whole[: 3 * OF_A_KIND]
        if len(whole) < 3 * LEAST:
            return None
        present = HIDDEN[np.arange(len(whole)) % 3]
        vectors = embed(model, PairStore(*rows.take(whole), present))
    else:
        kind = kinds(present)
        chosen = np.concatenate([np.flatnonzero(kind == k)[:OF_A_KIND] for k in range(3)])
        vectors, present = vectors[chosen], present[chosen]
    shares = {name: found.shares for name, found in mixed_pool(vectors, present, seed=seed).items()}
    found = comparability(vectors, present, seed)
    cosines = {
        pair: {"mean": spread.mean, "low": spread.low, "high": spread.high}
        for pair, spread in found.spreads.items()
    }
    return {"hidden": hidden, "shares": shares, "cosines": cosines, "favour": found.favour}
