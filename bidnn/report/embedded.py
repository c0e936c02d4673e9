"""A map of the embedding: rows in the plane, with what they are called and what they miss."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bidnn.data.store import PairStore
from bidnn.evaluation.labels import labelled

LONGEST = 80
"""Characters of an id or a label that are shown."""
NO_LABEL = "no label"
STEPS = 10000
KINDS = ("complete", "first only", "second only")


def points(vectors: NDArray[np.float32], rows: PairStore, *, umap: bool) -> dict[str, Any]:
    """What the map shows.

    Args:
        vectors: (rows, size), the embedding; at least two rows.
        rows: the same rows; each has one modality at least.
        umap: also a projection by UMAP, if it is installed.

    Returns:
        `projections` by name, each with `x` and `y`, whole numbers from 0 to 10000 of one unit, and
        a `note`; `kind`, a number in `KINDS` for each row; `ids`, and `label`, a number in `labels`
        for each row, or None.
    """
    units = unit(vectors)
    projections = {"PCA": _pca(units)}
    if umap and (found := _umap(units)) is not None:
        projections["UMAP"] = found
    labels: list[str] | None = None
    codes: list[int] | None = None
    if rows.labels is not None and (known := labelled(rows.labels)).any():
        texts = np.where(known, rows.labels, NO_LABEL)
        names, numbers, counts = np.unique(texts, return_inverse=True, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        labels = [shown(names[place]) for place in order]
        codes = np.argsort(order)[numbers].tolist()
    return {
        "projections": projections,
        "kind": kinds(rows.present).tolist(),
        "ids": None if rows.ids is None else [shown(value) for value in rows.ids.tolist()],
        "labels": labels,
        "label": codes,
    }


def kinds(present: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The number in `KINDS` of rows that have one modality at least."""
    return np.where(present.all(axis=1), 0, np.where(present[:, 0], 1, 2))


def shown(value: object) -> str:
    """An id or a label, cut to what a page has room for."""
    text = str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length 1, those of zeros as they are: rows are compared by cosine."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths == 0, 1, lengths)).astype(np.float32)


def principal(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float64], list[float]]:
    """The two principal components of rows.

    Returns:
        (rows, 2), the largest entry of either direction positive; and their shares of the variance.
    """
    from scipy.sparse.linalg import svds

    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    total = float((centred**2).sum())
    if total <= 1e-12 or min(centred.shape) < 3:
        padded = np.zeros((len(centred), 2))
        padded[:, : min(2, centred.shape[1])] = centred[:, :2]
        shares = (padded**2).sum(axis=0) / (total or 1.0)
        return padded, shares.tolist()
    start = np.ones(min(centred.shape)) / np.sqrt(min(centred.shape))
    left, values, right = svds(centred, k=2, v0=start)
    order = np.argsort(-values)
    signs = np.sign(right[order, np.abs(right[order]).argmax(axis=1)])
    return left[:, order] * values[order] * signs, (values[order] ** 2 / total).tolist()


def _pca(units: NDArray[np.float32]) -> dict[str, Any]:
    places, shares = principal(units)
    note = f"principal components, {shares[0]:.0%} and {shares[1]:.0%} of the variance"
    return {**_grid(places), "note": note, "shares": shares}


def _umap(units: NDArray[np.float32]) -> dict[str, Any] | None:
    """None where it is not installed, or there are too few rows for it."""
    if len(units) <= 15:
        return None
    try:
        from umap import UMAP
    except ImportError:
        return None
    places = UMAP(metric="cosine", random_state=0, n_jobs=1).fit_transform(units)
    note = "UMAP by cosine: who is near is kept, distances between groups mean little"
    return {**_grid(np.asarray(places, dtype=np.float64)), "note": note}


def _grid(places: NDArray[np.float64]) -> dict[str, list[int]]:
    """Whole numbers from 0 to `STEPS`, one unit in both directions, in the middle."""
    low, high = places.min(axis=0), places.max(axis=0)
    widest = float((high - low).max()) or 1.0
    scaled = np.rint(((places - (low + high) / 2) / widest + 0.5) * STEPS).astype(int)
    return {"x": scaled[:, 0].tolist(), "y": scaled[:, 1].tolist()}
