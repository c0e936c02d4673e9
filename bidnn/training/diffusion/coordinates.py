"""Where rows lie among their neighbours in both modalities: what the diffusion head learns.

A graph joins each row to its nearest rows in every modality that it has, as many as are of its kind
by what both modalities say, and to those that are nearest in both, where a missing one is predicted
from the other; such guesses count the less, the fewer rows they are learned from. It also joins
rows that are near by what other rows teach of them. The leading eigenvectors of a random walk on
it, each times a power of its eigenvalue, are the rows' diffusion coordinates (Coifman and Lafon,
Applied and Computational Harmonic Analysis 21(1), 2006); beside them is where a layout of the graph
puts a row. They hold what neighbourhoods say of a row, with one modality as with two; a network
that predicts them from either modality embeds new rows without the rows that it was trained on.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.training.diffusion.completion import certainty, completed
from bidnn.training.diffusion.crossfitted import joined_by_prediction
from bidnn.training.diffusion.elsewhere import Elsewhere
from bidnn.training.diffusion.graphs import Rows, affinities, unit, walk
from bidnn.training.diffusion.layout import layout
from bidnn.training.diffusion.neighbourhoods import neighbours_of_a_kind
from bidnn.training.diffusion.views import choose_views

LAID = 16
"""Dimensions of the layout."""
SAMPLE = 32768
"""Rows whose graph is built; others lie where their neighbours among these lie."""
BLOCK = 4096
"""Other rows that are placed at once."""


def diffusion_coordinates(
    store: PairStore,
    rows: NDArray[np.int64],
    size: int,
    held: NDArray[np.int64] | None = None,
) -> Rows:
    """Diffusion coordinates of training rows, and of rows that are held out.

    Linear in the rows: beyond 32768 of them, spread evenly, a row lies where those of them do
    of which other rows say the same (see `Elsewhere`).

    Args:
        store: where they are.
        rows: numbers of the rows to look at, ascending.
        size: coordinates of a row, at least 1; fewer rows than that leave the last ones zero.
        held: numbers of rows that lie on the graph, too, but have no say in how modalities are
            prepared; None for none.

    Returns:
        (len(store), size) float32: mean square 1 in a row; zero for other rows, and for those
        without a modality that is anything but zeros.

    Raises:
        UserError: if rows say something of one modality only.
    """
    found = np.zeros((len(store), size), dtype=np.float32)
    trains = np.ones(len(store), dtype=bool)
    if held is not None:
        trains[held] = False
        rows = np.union1d(rows, held)
    rows = rows[store.present[rows].any(axis=1)]
    sample = rows[:: -(-len(rows) // SAMPLE)] if len(rows) else rows
    parts, there = _telling(store, sample)
    sample, parts, there = sample[there.any(axis=1)], *_where(parts, there)
    if len(sample) < 3:
        return found
    own = trains[sample]
    for name, has in zip(("first", "second"), there[own].T, strict=True):
        if not has.any():
            raise UserError(
                f"{store.name}: the {name} modality is missing or all zeros in {len(has)} "
                "training rows, and loss.diffusion learns who is near to whom in both; set "
                "loss.diffusion=0 model.diffusion=false embedding=centres"
            )
    views = choose_views([part[own] for part in parts], there[own])
    prepared = [view.prepare(part) for view, part in zip(views, parts, strict=True)]
    count = neighbours_of_a_kind([part[own] for part in prepared], there[own])
    everyone = np.ones(len(sample), dtype=bool)
    counts = sparse.diags_array(certainty(there))
    graph: Any = counts @ affinities(completed(prepared, there), everyone, count) @ counts
    for part, has in zip(prepared, there.T, strict=True):
        graph = graph + affinities(part, has, count)
    inner = placed(joined_by_prediction(graph, prepared, there, count), size)
    found[sample] = inner
    others = np.setdiff1d(rows, sample)
    if len(others):
        lie = Elsewhere(prepared, there, inner, count)
        for block in np.array_split(others, -(-len(others) // BLOCK)):
            parts, has = _telling(store, block)
            found[block] = lie([v.prepare(p) for v, p in zip(views, parts, strict=True)], has)
    return found


def placed(graph: Any, size: int) -> Rows:  # noqa: ANN401 — SciPy's sparse arrays have no types
    """Coordinates by the walk on a graph, and by its layout, side by side.

    Args:
        graph: (rows, rows) symmetric weights.
        size: of both; at most 16 numbers, and at most half of them, are of the layout.

    Returns:
        (rows, size): mean square 1 in a row, half of it by each.
    """
    laid = min(LAID, size // 2)
    walked = walk(graph, size - laid)
    if not laid:
        return walked
    spread = layout(graph, walked[:, :laid])
    return unit(np.concatenate([unit(walked), spread], axis=1)) * np.float32(np.sqrt(size))


def _telling(store: PairStore, rows: NDArray[np.int64]) -> tuple[list[Rows], NDArray[np.bool_]]:
    """Both modalities of these rows, and which of them are there and not all zeros."""
    parts = list(store.take(rows))
    return parts, store.present[rows] & np.stack([part.any(axis=1) for part in parts], axis=1)


def _where(parts: list[Rows], there: NDArray[np.bool_]) -> tuple[list[Rows], NDArray[np.bool_]]:
    """Without the rows that say nothing."""
    kept = there.any(axis=1)
    return [part[kept] for part in parts], there[kept]
