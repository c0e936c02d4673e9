"""Fitting the embedding: the statistics that a model's last steps need, found from training rows.

Landmarks come first, then the head that is solved on them or on centres, then means and components
of the vectors that both give. All of it is kept in the buffers of `Model.finish`; what translations
are stacked of, in those of `Model.stacked`.

Shapes in comments: D size of the whole vector.
"""

from collections.abc import Iterator
from copy import deepcopy
from hashlib import blake2b

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bidnn.data.store import PairStore
from bidnn.data.taught import Taught
from bidnn.errors import UserError
from bidnn.model import landmarks, readout, ridge, sharing
from bidnn.model.finishing import STRATEGIES, Centring, Space
from bidnn.model.model import Model
from bidnn.model.scaling import at_least_float32

BYTES = 128 * 2**20
"""Of the rows that are read at once."""
ROWS = 65536
"""Rows at most that means and components are found from."""

WEIGHED = 4096
"""Rows at most that predictions, and translations, are weighed by."""


def fit_embedding(
    model: Model, store: PairStore, rows: NDArray[np.int64], taught: Taught | None = None
) -> None:
    """Finds the statistics that the embedding needs, for every strategy, from complete rows.

    Args:
        model: whose `finish` keeps them.
        store: where they are.
        rows: numbers of complete rows; 65 536 of them, spread evenly, are used.
        taught: what the diffusion head is solved for, 16 384 rows at most, and weighed by; None
            leaves it as it is.

    Raises:
        UserError: if they are too few for `embedding.shared` or `embedding.landmarks`, or no row
            says anything of a modality that landmarks are to be found in.
    """
    config = model.finish.config
    if not config.fitted:
        return
    for key in ("shared", "landmarks"):
        if getattr(config, key):
            sharing.check_enough(len(rows), f"embedding.{key}")
    training = model.training
    model.eval()
    if model.finish.readout is not None and taught is not None:
        _fit_landmarks(model, store, taught.rows)
        _solve(model, store, taught.rows, taught.coordinates)
        _weigh(model, store, taught.held, taught.coordinates)
    if len(rows):
        _fit_finish(model, store, rows)
    model.train(training)


def solve_translations(model: Model, store: PairStore, rows: NDArray[np.int64]) -> None:
    """Finds the regressions of a model whose translations are stacked; the network has no say.

    Args:
        model: whose `stacked` keeps them; without it nothing is done.
        store: where the rows are.
        rows: numbers of complete rows that train, 20 different ones at least for anything to be
            found; 16 384 of them, spread evenly, are used.
    """
    stacked = model.stacked
    if stacked is None:
        return
    stacked.clear()
    if len(rows) < ridge.LEAST:
        return
    rows = _distinct(store, rows[:: -(-len(rows) // ridge.ROWS)])
    if len(rows) < ridge.LEAST:
        return
    # In double precision on the processor, as columns may be far from zero for their spread.
    sums, squares = [np.zeros(model.mod1size), np.zeros(model.mod2size)], [0.0, 0.0]
    for part in _blocks(store, rows):
        for side, values in enumerate(_scaled(model, store, part)):
            sums[side] += values.sum(dim=0).numpy()
            squares[side] += float(values.square().sum())
    levels = [total / len(rows) for total in sums]
    variances = [
        max(square / len(rows) - float(level @ level), 0.0)
        for square, level in zip(squares, levels, strict=True)
    ]
    inputs, moments = [], []
    for side, waves in enumerate(stacked.waves):
        if waves is not None:
            waves.fit(levels[1 - side], variances[1 - side] ** 0.5)
        inputs.append(None if waves is None else deepcopy(waves).cpu())
        moments.append(ridge.Moments(waves.count if waves else 0, len(levels[side])))
    for part in _blocks(store, rows):
        scaled = _scaled(model, store, part)
        for side, (own, waves) in enumerate(zip(moments, inputs, strict=True)):
            source = scaled[1 - side]
            own.add(waves(source) if waves else source[:, :0], scaled[side])
    stacked.solve((moments[0], moments[1]))


def _distinct(store: PairStore, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those whose pair is not there before.

    Copies are told by each other, so that cross-validation would have all be learned by heart.
    """
    seen: set[bytes] = set()
    kept: list[int] = []
    for part in _blocks(store, rows):
        for row, first, second in zip(part, *store.take(part), strict=True):
            seen.add(blake2b(first.tobytes() + second.tobytes(), digest_size=16).digest())
            if len(seen) > len(kept):
                kept.append(row)
    return np.array(kept, dtype=np.int64)


def weigh_translations(model: Model, store: PairStore, held: NDArray[np.int64]) -> None:
    """Finds how much of the network and of the regressions is taken, where these are solved.

    Args:
        model: whose `stacked` keeps it; without it nothing is done.
        store: where the rows are.
        held: numbers of complete rows that train nothing; 4096 of them, spread evenly, are used.
            None leave the translations to the network.
    """
    stacked = model.stacked
    if stacked is None or not len(held) or not stacked.rows:
        return
    held = held[:: -(-len(held) // WEIGHED)]
    products, training = np.zeros((2, 3, 3)), model.training
    model.eval()
    for part in _blocks(store, held):
        first, second = model.scale(*_taken(model, store, part))
        ways = ((0, second, {"second": second}, first), (1, first, {"first": first}, second))
        for side, source, given, truth in ways:
            with torch.no_grad():
                guesses = model.network.translate(**given), stacked.regression(source, side)
            level = stacked.levels[side]
            parts = [values - level for values in (*guesses, truth)]
            products[side] += [[_product(one, other) for other in parts] for one in parts]
    model.train(training)
    for side in (0, 1):
        stacked.weigh(side, products[side], products[side, 2, 2] / len(held))


def _product(one: Tensor, other: Tensor) -> float:
    """Of all their values, (rows, size) each."""
    return float((one * other).sum(dim=1).cpu().double().sum())


def _scaled(model: Model, store: PairStore, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Both modalities of these rows as the network sees them, in double precision, not on a GPU."""
    first, second = model.scale(*_taken(model, store, rows))
    return first.cpu().double(), second.cpu().double()


def _taken(model: Model, store: PairStore, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Both modalities of these rows, on the model's device."""
    first, second = (model.on_device(values) for values in store.take(rows))
    return first, second


def _fit_landmarks(model: Model, store: PairStore, rows: NDArray[np.int64]) -> None:
    """Finds the landmarks of both modalities, if there are to be any."""
    if not len(rows) or not model.finish.config.landmarks:
        return
    rows = rows[:: -(-len(rows) // min(landmarks.ROWS, store.rows_in(BYTES)))]
    first, second = _taken(model, store, rows)
    present = torch.from_numpy(store.present[rows]).to(model.device)
    said = model.telling(first, second, present)
    with torch.no_grad():
        scaled = model.scale(first, second)
    for side, own in enumerate(model.finish.landmarks):
        assert isinstance(own, landmarks.Landmarks)
        _check_said(side, int(said[:, side].sum()), len(rows))
        own.fit(scaled[side][said[:, side]].float().cpu().numpy())


def _solve(
    model: Model, store: PairStore, rows: NDArray[np.int64], coordinates: NDArray[np.float32]
) -> None:
    """Solves the diffusion head for training rows."""
    assert model.finish.readout is not None
    size = sum(model.halves)
    inputs = model.finish.readout.inputs
    sums = [ridge.Moments(count, size) for count in (inputs, inputs, 2 * inputs)]
    rows = rows[:: -(-len(rows) // ridge.ROWS)] if len(rows) else rows
    for part in _blocks(store, rows):
        first, second = _taken(model, store, part)
        target = model.on_device(np.asarray(coordinates[part]))
        present = torch.from_numpy(store.present[part]).to(model.device)
        said = model.telling(first, second, present) & target.any(dim=1, keepdim=True)
        with torch.no_grad():
            centres, predicted = model.placed(first, second)
        centres = [at_least_float32(centre) for centre in centres]
        for side in (0, 1):
            own = said[:, side]
            sums[side].add(centres[side][own], (target - predicted[side])[own])
        both = said.all(dim=1)
        missed = target - (predicted[0] + predicted[1]) / 2
        sums[2].add(torch.cat(centres, dim=1)[both], missed[both])
    strength = None
    if model.finish.config.landmarks:
        strength = landmarks.STRENGTH
        for side in (0, 1):
            _check_said(side, int(sums[side].rows), len(rows))
    model.finish.readout.solve(sums[0], sums[1], sums[2], strength)


def _weigh(
    model: Model, store: PairStore, rows: NDArray[np.int64], coordinates: NDArray[np.float32]
) -> None:
    """Weighs what is predicted from each modality and from both, by rows that were held out."""
    solved = model.finish.readout
    assert solved is not None
    rows = rows[:: -(-len(rows) // WEIGHED)] if len(rows) else rows
    guesses: list[list[Tensor]] = [[], [], []]
    truth = []
    for part in _blocks(store, rows):
        first, second = _taken(model, store, part)
        target = model.on_device(np.asarray(coordinates[part]))
        said = model.telling(first, second).all(dim=1) & target.any(dim=1)
        truth.append(target[said])
        with torch.no_grad():
            placed = model.placed(first[said], second[said])
            for own, shown in zip(guesses, ((1, 0), (0, 1), (1, 1)), strict=True):
                seen = torch.tensor(shown, dtype=torch.bool, device=model.device)
                own.append(solved(*placed, seen.expand(len(truth[-1]), 2)))
    if sum(map(len, truth)) >= ridge.LEAST:
        weights = readout.best_weights([torch.cat(own) for own in guesses], torch.cat(truth))
        solved.weigh(weights, model.head)


def _check_said(side: int, count: int, rows: int) -> None:
    """Refuses landmarks of a modality of which no row says anything: it would embed as nothing."""
    if not count:
        raise UserError(
            f"embedding.landmarks: none of the {rows} training rows that are looked at says "
            f"anything of its {('first', 'second')[side]} modality, all are missing or zeros; set "
            "embedding.landmarks=0"
        )


def _fit_finish(model: Model, store: PairStore, rows: NDArray[np.int64]) -> None:
    """Finds means, components and shared directions of complete rows."""
    size = sum(model.halves)
    config, count = model.finish.config, 0
    sums = torch.zeros(len(STRATEGIES), 3, size, dtype=torch.float64)
    products = torch.zeros(size, size, dtype=torch.float64)
    kinds = (0, 1, 2) if config.centring is Centring.presence else (0,)
    for kind, own, vectors in _shown(model, store, rows[:: -(-len(rows) // ROWS)], kinds):
        sums[own, kind] += vectors.sum(dim=0)
        count += len(vectors) if kind == 0 else 0
        if kind == 0 and config.whitening:
            products += vectors.T @ vectors
    if count:
        model.finish.fit(sums, products, count)
    if config.shared:
        _fit_shared(model, store, rows[:: -(-len(rows) // sharing.ROWS)])


def _fit_shared(model: Model, store: PairStore, rows: NDArray[np.int64]) -> None:
    """Finds the directions that complete rows share when only one modality is shown."""
    found: dict[tuple[int, ...], tuple[list[Tensor], list[Tensor]]] = {}
    for kind, own, vectors in _shown(model, store, rows, (1, 2)):
        found.setdefault(tuple(own), ([], []))[kind - 1].append(vectors)
    for strategies, (first, second) in found.items():
        sharing.check_enough(sum(map(len, first)))
        model.finish.fit_shared(torch.cat(first), torch.cat(second), strategies)


def _shown(
    model: Model, store: PairStore, rows: NDArray[np.int64], kinds: tuple[int, ...]
) -> Iterator[tuple[int, list[int], Tensor]]:
    """Vectors of complete rows of which both, only the first or only the second are shown.

    Args:
        model: that makes them.
        store: where the rows are.
        rows: their numbers; those of which one modality says nothing are left out.
        kinds: 0 for both, 1 for the first only, 2 for the second only.

    Yields:
        The kind, the numbers of the strategies that make the same of it, and (rows, D) in
        double precision on the processor, since some devices have none.
    """
    shows = torch.tensor([[True, True], [True, False], [False, True]], device=model.device)
    for part in _blocks(store, rows):
        first, second = _taken(model, store, part)
        if model.finish.config.space is Space.diffusion:
            said = model.telling(first, second).all(dim=1)
            first, second = first[said], second[said]
        for kind in kinds:
            present = shows[kind].expand(len(first), 2)
            ways = model.strategies if kind else model.strategies[:1]
            for strategy in ways:
                alike = STRATEGIES if len(ways) == 1 else (strategy,)
                with torch.no_grad():
                    vectors = model.vectors(first, second, present, strategy, incomplete=kind != 0)
                yield kind, [STRATEGIES.index(way) for way in alike], vectors.cpu().double()


def _blocks(store: PairStore, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Numbers of rows, as many at once as memory is meant for."""
    count = -(-len(rows) // min(4096, store.rows_in(BYTES)))
    return np.array_split(rows, count) if count else []
