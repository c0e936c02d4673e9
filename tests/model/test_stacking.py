"""Stacked translations: against dense formulas, and what they must do for any rows."""

import hashlib
import json

import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from sklearn.linear_model import LinearRegression

from bidnn.architecture import NetworkConfig
from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.model import stacking, waves
from bidnn.model.about import digest
from bidnn.model.description import build_model, check_weights, describe_model
from bidnn.model.finishing import EmbeddingConfig, MissingStrategy, Space
from bidnn.model.fitting import solve_translations, weigh_translations
from bidnn.model.model import Model
from bidnn.model.ridge import LEAST
from bidnn.model.scaling import ScalingConfig, ScalingKind, fit_scaling
from bidnn.model.stacking import Stacked
from bidnn.model.waves import WAVES
from bidnn.original.model_file import original_network

ROWS, HELD, NEW = np.arange(100), np.arange(100, 130), slice(130, 200)


def rows_of(seed=0, noise=0.1):
    """What a line knows of either modality but for the noise."""
    generator = np.random.default_rng(seed)
    first = generator.normal(2, 3, size=(200, 6))
    second = first @ generator.normal(size=(6, 4)) + noise * generator.normal(size=(200, 4)) - 1
    parts = (part.astype(np.float32) for part in (first, second))
    return PairStore(*parts, np.ones((200, 2), dtype=bool))


def model_of(store, **embedding):
    torch.manual_seed(1)
    config = NetworkConfig(hdn=5, rep=4)
    scaling = ScalingConfig(kind=ScalingKind.standard)
    model = Model(6, 4, config, scaling, EmbeddingConfig(stacked=True, **embedding))
    fit_scaling((model.first_scaler, model.second_scaler), store, ROWS)
    return model.eval()


def scaled(model, store, rows):
    with torch.no_grad():
        parts = model.scale(*(torch.from_numpy(part) for part in store.take(rows)))
    return tuple(part.numpy().astype(np.float64) for part in parts)


def translations(model, store, rows):
    """To first and to second, by the model and by its network alone."""
    first, second = (torch.from_numpy(part).float() for part in scaled(model, store, rows))
    with torch.no_grad():
        return [
            (way.translate(second=second).numpy(), way.translate(first=first).numpy())
            for way in (model, model.network)
        ]


def test_shares_are_the_least_squares_of_held_out_rows_and_of_one_that_trusts_the_regression():
    store = rows_of(noise=4.0)
    model = model_of(store)
    solve_translations(model, store, ROWS)
    _, by_network = translations(model, store, HELD)
    parts = scaled(model, store, HELD)
    trained = scaled(model, store, ROWS)
    with torch.no_grad():
        regressions = [
            model.stacked.regression(torch.from_numpy(parts[1 - side]), side).numpy()
            for side in (0, 1)
        ]
    weigh_translations(model, store, HELD)
    for side in (0, 1):
        level = trained[side].mean(axis=0)
        columns = [(v - level).ravel() for v in (by_network[side], regressions[side], parts[side])]
        doubt = (columns[2] ** 2).sum() / len(HELD)
        left = np.concatenate([np.stack(columns[:2], axis=1), doubt**0.5 * np.eye(2)])
        right = np.concatenate([columns[2], [0.0, doubt**0.5]])
        expected, _ = nnls(left, right)
        assert expected[1] > 0.1
        np.testing.assert_allclose(model.stacked.shares[side], expected, rtol=1e-4, atol=1e-6)
        found = translations(model, store, HELD)[0][side]
        summed = level + expected[0] * (by_network[side] - level)
        summed += expected[1] * (regressions[side] - level)
        np.testing.assert_allclose(found, summed, rtol=1e-3, atol=1e-4)


def test_rows_that_follow_a_line_are_translated_by_it_and_completed_in_their_own_units():
    store = rows_of()
    model = model_of(store)
    solve_translations(model, store, ROWS)
    weigh_translations(model, store, HELD)
    first, second = store.take(NEW)
    line = LinearRegression().fit(*store.take(ROWS)).predict(first)
    present = torch.tensor([True, False]).expand(len(first), 2)
    nothing = torch.zeros(len(first), 4)
    with torch.no_grad():
        found = model.complete(torch.from_numpy(first), nothing, present)[1].numpy()
    spread = ((second - second.mean(axis=0)) ** 2).sum()
    assert ((found - line) ** 2).sum() < 0.01 * spread
    assert ((found - second) ** 2).sum() < 0.01 * spread


def test_rows_that_follow_no_line_are_translated_too():
    generator = np.random.default_rng(2)
    first = generator.normal(size=(200, 6)).astype(np.float32)
    second = np.stack([first[:, i] * first[:, i + 1] for i in (0, 2, 4)] + [first[:, 0] ** 2], 1)
    store = PairStore(first, second, np.ones((200, 2), dtype=bool))
    model = model_of(store)
    solve_translations(model, store, ROWS)
    weigh_translations(model, store, HELD)
    found, truth = translations(model, store, NEW)[0][1], scaled(model, store, NEW)[1]
    line = LinearRegression().fit(first[ROWS], scaled(model, store, ROWS)[1]).predict(first[NEW])
    spread = ((truth - truth.mean(axis=0)) ** 2).sum()
    assert ((line - truth) ** 2).sum() > 0.9 * spread
    assert ((found - truth) ** 2).sum() < 0.5 * spread


def test_a_network_that_is_right_is_trusted_beside_a_regression_of_other_pairs():
    store = rows_of()
    model = model_of(store)
    shuffled = store.second.copy()
    shuffled[ROWS] = np.random.default_rng(1).permutation(shuffled[ROWS])
    solve_translations(model, PairStore(store.first, shuffled, store.present), ROWS)
    parts = tuple(torch.from_numpy(part).float() for part in scaled(model, store, HELD))

    def right(first=None, second=None):
        return parts[0] if first is None else parts[1]

    model.network.translate = right
    weigh_translations(model, store, HELD)
    assert (model.stacked.shares[:, 0] > 0.9).all()
    for found, truth in zip(translations(model, store, HELD)[0], parts, strict=True):
        assert ((found - truth.numpy()) ** 2).mean() < 0.01 * truth.numpy().var()


@pytest.mark.parametrize(("rows", "held"), [(ROWS[: LEAST - 1], HELD), (ROWS, HELD[:0])])
def test_too_few_rows_leave_translations_to_the_network(rows, held):
    store = rows_of()
    model = model_of(store)
    solve_translations(model, store, ROWS)
    weigh_translations(model, store, HELD)
    solve_translations(model, store, rows)
    weigh_translations(model, store, held)
    stacked, network = translations(model, store, NEW)
    for own, other in zip(stacked, network, strict=True):
        np.testing.assert_allclose(own, other, atol=1e-6)


def test_a_regression_from_too_many_columns_there_is_not(monkeypatch):
    monkeypatch.setattr(stacking, "MOST", 5 * WAVES)  # directions of six columns are more
    to_first, to_second = Stacked(2, 6).maps
    assert (len(to_first), len(to_second)) == (0, 0)
    monkeypatch.setattr(stacking, "MOST", 6 * WAVES)
    to_first, to_second = Stacked(2, 6).maps
    assert (len(to_first), len(to_second)) == (6 + 2 * WAVES + 1, 0)  # to six are more


def test_from_many_columns_only_waves_are_seen(monkeypatch):
    store = rows_of()
    monkeypatch.setattr(waves, "WIDEST", 5)  # the first modality has six
    model = model_of(store)
    assert [len(mapped) for mapped in model.stacked.maps] == [4 + 2 * WAVES + 1, 2 * WAVES + 1]
    solve_translations(model, store, ROWS)
    weigh_translations(model, store, HELD)
    found, truth = translations(model, store, NEW)[0][1], scaled(model, store, NEW)[1]
    assert ((found - truth) ** 2).mean() < 0.1 * truth.var()


def test_pairs_that_are_there_twice_are_not_learned_by_heart():
    once = rows_of(noise=4.0)
    twice = once.load(np.concatenate([np.arange(200), ROWS]))
    found = []
    for store, rows in ((once, ROWS), (twice, np.r_[ROWS, 200:300])):
        model = model_of(once)
        solve_translations(model, store, rows)
        weigh_translations(model, once, HELD)
        assert model.stacked.rows == 100
        found.append(translations(model, once, NEW)[0])
    for own, other in zip(*found, strict=True):
        np.testing.assert_allclose(own, other, atol=1e-5)


def test_where_a_map_would_be_too_large_the_network_alone_is_weighed(monkeypatch):
    store = rows_of(noise=4.0)
    monkeypatch.setattr(stacking, "MOST", 5000)  # from 4 columns and 1024 waves to 6: 6168
    model = model_of(store)
    assert [len(mapped) for mapped in model.stacked.maps] == [0, 6 + 2 * WAVES + 1]
    solve_translations(model, store, ROWS)
    weigh_translations(model, store, HELD)
    stacked, network = translations(model, store, NEW)
    level = scaled(model, store, ROWS)[0].mean(axis=0)
    share = float(model.stacked.shares[0, 0])
    np.testing.assert_allclose(stacked[0], level + share * (network[0] - level), atol=1e-5)
    truth = scaled(model, store, NEW)[0]
    errors = [((guess - truth) ** 2).sum() for guess in (stacked[0], network[0], level)]
    assert errors[0] < errors[1]
    assert errors[0] < 1.05 * errors[2]


def test_an_embedding_that_is_completed_by_translation_uses_it():
    store = rows_of()
    vectors = []
    for solved in (False, True):
        model = model_of(store, space=Space.inputs, missing=MissingStrategy.translate)
        if solved:
            solve_translations(model, store, ROWS)
            weigh_translations(model, store, HELD)
        first, second = (torch.from_numpy(part) for part in store.take(NEW))
        with torch.no_grad():
            vectors += [
                model.embed(first, second, torch.tensor(shown).expand(len(first), 2))
                for shown in ((True, True), (True, False))
            ]
    whole, before, again, after = vectors
    assert torch.equal(whole, again)
    near = [torch.cosine_similarity(whole, half, dim=1).mean() for half in (before, after)]
    assert near[0] < 0.9 < 0.99 < near[1]


def test_a_saved_model_has_them_and_one_of_a_version_before_has_none():
    store = rows_of()
    model = model_of(store)
    solve_translations(model, store, ROWS)
    weigh_translations(model, store, HELD)
    other = build_model(describe_model(model)).eval()
    other.load_state_dict(model.state_dict())
    for own, same in zip(
        translations(model, store, NEW)[0], translations(other, store, NEW)[0], strict=True
    ):
        assert (own == same).all()
    older = {name: v for name, v in model.state_dict().items() if "waves" not in name}
    with pytest.raises(UserError, match=r"m\.pt: written by an earlier version of bidnn; train it"):
        check_weights("m.pt", other.state_dict(), older)
    description = describe_model(model)
    del description["embedding"]["stacked"]
    before = build_model(description)
    assert before.stacked is None
    own = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name, values in before.state_dict().items():
        own.update(f"{name} {tuple(values.shape)} ".encode())
        own.update(values.numpy().tobytes())
    assert digest(before) == own.hexdigest() != digest(model)


def test_columns_that_are_far_from_zero_for_their_spread_have_a_regression_too():
    store = rows_of()
    far = PairStore(store.first + 3000, store.second - 3000, store.present)
    model = Model(6, 4, NetworkConfig(hdn=5, rep=4), None, EmbeddingConfig(stacked=True)).eval()
    solve_translations(model, far, ROWS)
    weigh_translations(model, far, HELD)
    (to_first, to_second), _ = translations(model, far, NEW)
    first, second = far.take(NEW)
    line = LinearRegression().fit(store.first[ROWS], store.second[ROWS])
    expected = line.predict(store.first[NEW]) - 3000
    assert ((to_second - expected) ** 2).mean() < 0.01 * second.var(axis=0).mean()
    assert ((to_first - first) ** 2).mean() < 0.9 * first.var(axis=0).mean()  # 4 tell of 6


def test_the_originals_model_files_do_not_hold_it(tmp_path):
    with pytest.raises(UserError, match=r"not scaling=standard embedding\.stacked=true; train"):
        original_network(tmp_path / "m.npz", model_of(rows_of(), missing=MissingStrategy.duplicate))
