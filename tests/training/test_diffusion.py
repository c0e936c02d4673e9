"""Diffusion coordinates: against dense formulas, and what must hold of any rows."""

import numpy as np
import pytest
import torch
from scipy import sparse

from bidnn import BiDNN
from bidnn.architecture import NetworkConfig
from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.evaluation.agreement import agreement
from bidnn.evaluation.retrieval import mean_average_precision
from bidnn.losses import LossConfig, pair_loss
from bidnn.model.finishing import EmbeddingConfig, Space
from bidnn.model.model import Model
from bidnn.network import Outputs
from bidnn.programs.controls import knn
from bidnn.training.diffusion import coordinates, graphs
from bidnn.training.diffusion import layout as layouts
from bidnn.training.diffusion.completion import certainty, completed, predicted
from bidnn.training.diffusion.coordinates import diffusion_coordinates
from bidnn.training.diffusion.graphs import affinities, sketched_walk, unit, walk
from bidnn.training.diffusion.layout import NEAREST, RADIUS, layout
from bidnn.training.diffusion.neighbourhoods import neighbours_of_a_kind
from bidnn.training.diffusion.views import View, choose_views
from tests.training.kinds import clustered


@pytest.mark.parametrize("block", [512, 7], ids=["whole", "blocks"])
@pytest.mark.parametrize("own", [True, False], ids=["own", "queries"])
def test_the_nearest_rows_are_those_of_all_distances(monkeypatch, block, own):
    monkeypatch.setattr(graphs, "BLOCK", block)
    values, queries = (
        np.random.default_rng(seed).normal(size=(40, 5)).astype(np.float32) for seed in (0, 1)
    )
    values[3] = values[4]
    queries[0] = values[9]
    distances, near = graphs.nearest(values, None if own else queries, 6)
    asked = (values if own else queries).astype(np.float64)
    expected = np.linalg.norm(asked[:, None] - values, axis=2)
    if own:
        np.fill_diagonal(expected, np.inf)
    np.testing.assert_allclose(distances, np.sort(expected, axis=1)[:, :6], atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(expected, near, axis=1), distances, atol=1e-6)
    same = (3, 4) if own else (0, 9)  # equal rows are at distance 0, exactly
    assert (near[same[0], 0], distances[same[0], 0]) == (same[1], 0.0)


def test_affinities_are_self_tuned_and_means_of_both_directions():
    rows = unit(np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32))
    has = np.arange(40) % 4 > 0
    found = affinities(rows, has).toarray()
    distances = np.linalg.norm(rows[:, None] - rows, axis=2)
    distances[~has] = distances[:, ~has] = np.inf
    np.fill_diagonal(distances, np.inf)
    expected = np.zeros((40, 40))
    nearest = np.sort(distances, axis=1)[:, 9]
    for one in np.flatnonzero(has):
        for other in np.flatnonzero(distances[one] <= nearest[one]):
            weight = np.exp(-(distances[one, other] ** 2) / (nearest[one] * nearest[other]))
            expected[one, other] += weight / 2
            expected[other, one] += weight / 2
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("dense", [True, False], ids=["dense", "sparse"])
def test_cosines_of_coordinates_are_those_of_the_walk(monkeypatch, dense):
    rows = unit(np.random.default_rng(1).normal(size=(60, 4)).astype(np.float32))
    graph = affinities(rows, np.ones(60, dtype=bool))
    if not dense:
        monkeypatch.setattr(graphs, "DENSE", 0)
    found = walk(graph, 20)
    assert found.shape == (60, 20)
    np.testing.assert_allclose((found**2).mean(axis=1), 1.0, rtol=1e-5)
    array = graph.toarray() + 1e-6 * np.eye(60)
    degrees = array.sum(axis=1)
    values, vectors = np.linalg.eigh(array / np.sqrt(np.outer(degrees, degrees)))
    kernel = (vectors[:, -20:] * np.clip(values[-20:], 0, None) ** 8) @ vectors[:, -20:].T
    lengths = np.sqrt(np.diag(kernel))
    np.testing.assert_allclose(found @ found.T / 20, kernel / np.outer(lengths, lengths), atol=2e-4)


def test_a_sketch_has_nearly_the_cosines_of_all_eigenvectors():
    rows = unit(np.random.default_rng(1).normal(size=(200, 4)).astype(np.float32))
    graph = affinities(rows, np.ones(200, dtype=bool))
    exact, sketch = walk(graph, 200), sketched_walk(graph, 2000)
    assert sketch.shape == (200, 2000)
    np.testing.assert_array_equal(sketch, sketched_walk(graph, 2000))
    gaps = (exact @ exact.T - sketch @ sketch.T / 10) / 200
    assert np.sqrt(np.square(gaps).mean()) < 2000**-0.5


@pytest.mark.parametrize("together", [100, 3], ids=["at once", "in pieces"])
def test_rows_are_laid_out_along_the_gradient_of_its_formula(monkeypatch, together):
    monkeypatch.setattr(layouts, "EDGES", together)
    monkeypatch.setattr(layouts, "TOGETHER", together)
    generator = torch.Generator().manual_seed(0)
    places = torch.randn(12, 3, generator=generator, dtype=torch.float64)
    places = (places / places.norm(dim=1, keepdim=True) * RADIUS).requires_grad_()
    ones, others = torch.tensor([0, 0, 3, 7]), torch.tensor([1, 2, 5, 11])
    weights = torch.tensor([[0.4], [0.3], [0.2], [0.1]], dtype=torch.float64)
    degrees = torch.rand(12, 1, generator=generator, dtype=torch.float64)
    pool = torch.tensor([2, 9, 0, 7])
    joined = ((places[ones] - places[others]) ** 2).sum(1)
    (pull,) = torch.autograd.grad((weights[:, 0] * torch.log(1 + joined)).sum(), places)
    with torch.no_grad():
        found = layouts._attraction(places, ones, others, weights)
    torch.testing.assert_close(found, pull)
    squares = ((places[:, None] - places[pool]) ** 2).sum(2)
    apart = torch.log(1 + squares) - torch.log(NEAREST + squares)
    apart = apart * (torch.arange(12)[:, None] != pool)
    (push,) = torch.autograd.grad((degrees * apart).sum() / 4, places)
    with torch.no_grad():
        found = layouts._repulsion(places, pool, degrees)
    torch.testing.assert_close(found, push)


def test_a_layout_draws_groups_apart_that_a_walk_lets_run_together():
    generator = np.random.default_rng(0)
    group = np.arange(120) % 3
    chance = np.where(group[:, None] == group, 0.3, 0.04)
    graph = sparse.csr_array(np.triu(generator.random((120, 120)) < chance, 1).astype(float))
    graph = graph + graph.T
    walked = walk(graph, 8)
    found = layout(graph, walked)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(found, layout(graph, walked))
    same = group[:, None] == group

    def margin(rows):
        cosines = rows @ rows.T
        return cosines[same].mean() - cosines[~same].mean()

    assert margin(found) > 1.3 * margin(unit(walked))


def test_evening_flattens_deviations_by_its_exponent():
    generator = np.random.default_rng(2)
    values = (generator.normal(size=(500, 4)) * [8, 4, 2, 1]).astype(np.float32)
    view = View.of(values, "none")
    even = (view.transformed(values) - view.centre) @ view.evened(values, 0.5).evening
    before = np.linalg.eigvalsh(np.cov(values.T, bias=True))
    after = np.linalg.eigvalsh(np.cov(even.T, bias=True))
    np.testing.assert_allclose(after, before**0.5, rtol=1e-3)


def test_the_view_under_which_the_modalities_agree_is_chosen():
    generator = np.random.default_rng(3)
    hidden = generator.normal(size=(300, 3)).astype(np.float32)
    # One column of the first modality is loud and says nothing; standardised, it is one of many.
    loud = generator.normal(size=(300, 1)).astype(np.float32) * 100
    first = np.concatenate([hidden, loud], axis=1)
    views = choose_views([first, hidden], np.ones((300, 2), dtype=bool))
    assert views[0].transform == "standard" or views[0].exponent >= 0.5
    # Few complete rows are enough to tell that much, those that are too few leave all as it is.
    few = np.ones((300, 2), dtype=bool)
    few[18:, 1] = False
    assert choose_views([first, hidden], few)[0].transform == "standard"
    few[11:, 1] = False
    assert [view.transform for view in choose_views([first, hidden], few)] == ["none", "none"]
    quiet = views[0].prepare(first), views[1].prepare(hidden)
    near = [graphs.nearest(rows, None, 10)[1] for rows in quiet]
    plain = graphs.nearest(unit(first - first.mean(axis=0)), None, 10)[1]
    assert agreement(near[0], near[1]) > 1.5 * agreement(plain, near[1])


def test_agreement_counts_shared_neighbours():
    near = np.array([[1, 2], [0, 2], [0, 1]])
    assert agreement(near, near) == 1.0
    assert agreement(near, np.array([[1, 3], [3, 4], [1, 0]])) == pytest.approx(3 / 6)


def test_what_cannot_be_predicted_stays_near_the_mean():
    generator = np.random.default_rng(4)
    source = unit(generator.normal(size=(200, 6)).astype(np.float32))
    mixing = generator.normal(size=(6, 5)).astype(np.float32)
    exact = predicted(source[:150], source[:150] @ mixing, source[150:])
    np.testing.assert_allclose(exact, source[150:] @ mixing, atol=0.15)
    noise = generator.normal(size=(200, 5)).astype(np.float32)
    guess = predicted(source[:150], noise[:150], source[150:])
    assert (guess**2).mean() < 0.1


def test_a_modality_of_one_column_is_predicted_as_one_of_two_alike():
    draw = np.random.default_rng(0)
    source = draw.normal(size=(60, 5)).astype(np.float32)
    target = (source[:50] @ draw.normal(size=(5, 1))).astype(np.float32)
    alone = predicted(source[:50], target, source[50:])
    twice = predicted(source[:50], np.hstack([target, target]), source[50:])
    assert alone.shape == (10, 1)
    np.testing.assert_allclose(twice, np.hstack([alone, alone]), rtol=1e-4, atol=1e-5)


def test_complete_rows_stay_as_they_are_when_others_are_completed():
    store, _ = clustered()
    parts = [unit(part) for part in store.take(slice(None))]
    whole = completed(parts, store.present)
    both = store.present.all(axis=1)
    expected = np.concatenate(parts, axis=1)[both] / np.sqrt(2)
    np.testing.assert_allclose(whole[both], expected, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1.0, rtol=1e-5)


def test_completed_rows_count_as_complete_ones_are_many():
    there = np.ones((20, 2), dtype=bool)
    np.testing.assert_array_equal(certainty(there), 1.0)
    there[4:12, 0] = there[12:, 1] = False
    np.testing.assert_allclose(certainty(there), [1.0] * 4 + [0.5**0.5] * 16)
    there[4:10] = True
    np.testing.assert_array_equal(certainty(there), 1.0)  # ten of each
    there[:10, 0] = False
    np.testing.assert_array_equal(certainty(there), 0.0)


def test_an_edge_between_guesses_counts_as_the_root_of_the_ratio_of_complete_rows(monkeypatch):
    store, _ = clustered(100, missing=0.8)
    graph = {}

    def kept(whole, size):
        graph["whole"] = whole.toarray()
        return np.zeros((whole.shape[0], size), dtype=np.float32)

    monkeypatch.setattr(coordinates, "placed", kept)
    monkeypatch.setattr(coordinates, "joined_by_prediction", lambda whole, *_: whole)
    rows, there = np.arange(100), store.present
    diffusion_coordinates(store, rows, 4)
    parts = list(store.take(slice(None)))
    views = choose_views(parts, there)
    prepared = [view.prepare(part) for view, part in zip(views, parts, strict=True)]
    count = neighbours_of_a_kind(prepared, there)
    joined = affinities(completed(prepared, there), np.ones(100, dtype=bool), count).toarray()
    sides = zip(prepared, there.T, strict=True)
    own = sum(affinities(part, has, count) for part, has in sides).toarray()
    whole = there.all(axis=1)
    ends = whole[:, None].astype(int) + whole  # 20 rows are complete, 80 are not
    expected = own + joined * np.choose(ends, [0.5, 0.5**0.5, 1.0])
    np.testing.assert_allclose(graph["whole"], expected, rtol=1e-5, atol=1e-9)
    assert joined[ends == 0].any()


@pytest.mark.parametrize("sample", [32768, 40], ids=["all", "extended"])
def test_rows_of_a_kind_lie_together_whatever_they_miss(monkeypatch, sample):
    monkeypatch.setattr(coordinates, "SAMPLE", sample)
    store, kind = clustered()
    rows = np.arange(80)
    found = diffusion_coordinates(store, rows, 16)
    assert not found[80:].any()
    np.testing.assert_allclose((found[:80] ** 2).mean(axis=1), 1.0, rtol=1e-4)
    cosines = found[:80] @ found[:80].T / 16
    same = kind[:80, None] == kind[:80]
    assert cosines[same].mean() > 0.8
    assert cosines[~same].mean() < 0.2


def test_rows_that_are_held_out_lie_on_the_graph_and_choose_no_view(monkeypatch):
    store, kind = clustered()
    held = store.complete[::9]
    rows = np.setdiff1d(np.arange(90), held)
    asked = []

    def chosen(parts, there):
        asked.append((parts, there))
        return choose_views(parts, there)

    monkeypatch.setattr(coordinates, "choose_views", chosen)
    found = diffusion_coordinates(store, rows, 16, held)
    without = diffusion_coordinates(store, rows, 16)
    for own, other in zip(*(parts for parts, _ in asked), strict=True):
        np.testing.assert_array_equal(own, other)
    np.testing.assert_array_equal(asked[0][1], asked[1][1])
    assert not without[held].any()
    vectors = unit(found)
    alike = [vectors[held] @ vectors[rows][kind[rows] == k].mean(axis=0) for k in range(3)]
    np.testing.assert_array_equal(np.argmax(alike, axis=0), kind[held])


def test_a_modality_of_zeros_says_nothing():
    store, _ = clustered(missing=0.0)
    first = store.first.copy()
    first[:5] = 0.0
    present = store.present.copy()
    present[:5, 0] = False
    there = diffusion_coordinates(PairStore(first, store.second, store.present), np.arange(90), 8)
    gone = diffusion_coordinates(PairStore(first, store.second, present), np.arange(90), 8)
    np.testing.assert_array_equal(there, gone)
    nothing = PairStore(np.zeros((4, 2)), np.zeros((4, 3)), np.ones((4, 2), dtype=bool))
    assert not diffusion_coordinates(nothing, np.arange(4), 8).any()
    half = PairStore(np.zeros_like(first), store.second, store.present)
    with pytest.raises(UserError, match=r"first modality is missing or all zeros in 90 training"):
        diffusion_coordinates(half, np.arange(90), 8)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 12])
def test_few_rows_and_none_complete_are_no_error(rows):
    store, _ = clustered(rows)
    assert np.isfinite(diffusion_coordinates(store, np.arange(rows), 8)).all()
    present = np.zeros((rows, 2), dtype=bool)
    present[np.arange(rows), np.arange(rows) % 2] = True
    alone = PairStore(store.first, store.second, present)
    assert np.isfinite(diffusion_coordinates(alone, np.arange(rows), 8)).all()


def test_the_loss_counts_known_coordinates_by_present_modalities():
    generator = torch.Generator().manual_seed(0)
    left, right, target = (torch.randn(4, 3, generator=generator) for _ in range(3))
    target[3] = 0.0
    present = torch.tensor([[True, True], [True, False], [False, True], [True, True]])
    zeros = torch.zeros(4, 2)
    outputs = Outputs(zeros, zeros, zeros, zeros, None, None, left, right)
    config = LossConfig(diffusion=2.0)
    terms = pair_loss(outputs, zeros, zeros, config, present, target)
    by_first = ((left - target)[[0, 1]] ** 2).mean()
    by_second = ((right - target)[[0, 2]] ** 2).mean()
    torch.testing.assert_close(terms["diffusion"], (by_first + by_second) / 2)
    torch.testing.assert_close(terms["loss"], by_first + by_second)
    assert "diffusion" not in pair_loss(outputs, zeros, zeros, config, present)


def test_a_vector_is_the_mean_of_what_is_predicted_from_what_is_there():
    torch.manual_seed(0)
    config = NetworkConfig(hdn=5, rep=4, diffusion=True)
    model = Model(3, 2, config, embedding=EmbeddingConfig(space=Space.diffusion)).eval()
    first, second = torch.randn(5, 3), torch.randn(5, 2)
    second[3] = 0.0
    present = torch.tensor([[1, 1], [1, 0], [0, 1], [1, 1], [0, 0]]).bool()
    with torch.no_grad():
        left, right = (
            model.network.place(model.network.encode(first=first)),
            model.network.place(model.network.encode(second=second)),
        )
        found = model.embed(first, second, present)
    expected = torch.stack([left[0] + right[0], left[1], right[2], left[3]])
    torch.testing.assert_close(found[:4], torch.nn.functional.normalize(expected, dim=1))
    assert not found[4].any()


def test_a_space_without_its_head_is_refused():
    with pytest.raises(UserError, match=r"model\.diffusion=true"):
        Model(3, 2, NetworkConfig(hdn=2, rep=2), embedding=EmbeddingConfig(space=Space.diffusion))


@pytest.mark.parametrize("rows", [60, 300])
def test_the_recipe_is_ahead_of_the_nearest_rows_on_few_rows_too(rows):
    store, kind = clustered(rows, deviation=3.0)
    first, second = (
        np.where(has[:, None], part, np.nan)
        for part, has in zip(store.take(slice(None)), store.present.T, strict=True)
    )
    net = BiDNN(recipe="incomplete", verbosity=0, trainer__max_steps=100).fit(first, second)
    ours, control = (
        mean_average_precision(vectors, kind)
        for vectors in (net.transform(first, second), knn(store))
    )
    assert control < 0.95  # so that there is something to be ahead in
    assert ours >= control


def test_sixty_rows_are_enough_for_the_recipe():
    store, kind = clustered(60)
    first, second = (
        np.where(has[:, None], part, np.nan)
        for part, has in zip(store.take(slice(None)), store.present.T, strict=True)
    )
    net = BiDNN(recipe="incomplete", verbosity=0, trainer__max_steps=300).fit(first, second)
    found = net.transform(first, second)
    parts = [unit(part) for part in store.take(slice(None))]
    nearest_rows = completed(parts, store.present)
    same = (kind[:, None] == kind) & ~np.eye(60, dtype=bool)

    def precision(vectors):
        cosines = vectors @ vectors.T - 2 * np.eye(60)
        return np.take_along_axis(same, np.argsort(-cosines, axis=1)[:, :10], axis=1).mean()

    assert precision(found) >= precision(nearest_rows) - 0.01
    assert precision(found) > 0.9
