"""Landmarks: against kernel ridge regression, and what a head solved on them must do."""

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge

from bidnn.architecture import NetworkConfig
from bidnn.data.store import PairStore
from bidnn.data.taught import Taught
from bidnn.errors import UserError
from bidnn.model import landmarks
from bidnn.model.description import build_model, describe_model
from bidnn.model.finishing import EmbeddingConfig, Space
from bidnn.model.fitting import fit_embedding
from bidnn.model.landmarks import Landmarks
from bidnn.model.model import Model
from bidnn.model.ridge import Moments


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def kernel(left, right):
    return np.exp(landmarks.SHARPNESS * (unit(left) @ unit(right).T - 1))


def test_ridge_on_all_rows_as_landmarks_is_kernel_ridge_regression(monkeypatch):
    monkeypatch.setattr(landmarks, "JITTER", 1e-9)
    generator = np.random.default_rng(0)
    rows, new = generator.normal(size=(60, 6)), generator.normal(size=(9, 6))
    targets = np.tanh(rows[:, :3]) + 2.0
    near = Landmarks(80, 6).double()  # more than rows: the others say nothing
    near.fit(rows)
    found = near(torch.from_numpy(new)).numpy()
    inputs = near(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(found @ inputs.T, kernel(new, rows), atol=1e-6)
    assert not inputs[:, 60:].any()
    sums = Moments(80, 3)
    sums.add(torch.from_numpy(inputs), torch.from_numpy(targets))
    solved = sums.ridge(0.1).numpy()
    # The same by scikit-learn, whose kernel regression has no constant: of centred values.
    centre = np.eye(60) - 1 / 60
    own = kernel(rows, rows)
    dense = KernelRidge(alpha=0.1 * np.trace(centre @ own @ centre) / 60, kernel="precomputed")
    dense.fit(centre @ own @ centre, targets - targets.mean(axis=0))
    asked = (kernel(new, rows) - own.mean(axis=0)) @ centre
    expected = dense.predict(asked) + targets.mean(axis=0)
    np.testing.assert_allclose(found @ solved[:-1] + solved[-1], expected, atol=1e-5)


def test_landmarks_of_more_rows_are_means_of_clusters_that_keep_no_row():
    generator = np.random.default_rng(1)
    kinds = unit(generator.normal(size=(5, 8)))
    rows = (
        kinds[generator.integers(0, 5, 400)] * 4 + 0.2 * generator.normal(size=(400, 8))
    ).astype(np.float32)
    rows[7] = 0.0  # says nothing
    near = Landmarks(20, 8)
    near.fit(rows)
    points = near.points.numpy()
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1.0, rtol=1e-5)
    assert (points @ kinds.T).max(axis=1).min() > 0.98
    assert (near(torch.from_numpy(kinds.astype(np.float32))).square().sum(dim=1) > 0.9).all()


def bent(count=400):
    """Rows of which both modalities see the same angle, and where that is, which is not linear."""
    generator = np.random.default_rng(2)
    angle = generator.uniform(0, 2 * np.pi, count)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    parts = [
        (ring @ generator.normal(size=(2, size)) + 0.05 * generator.normal(size=(count, size)))
        for size in (5, 7)
    ]
    harmonics = [wave(k * angle) for k in (2, 3) for wave in (np.cos, np.sin)]
    targets = np.stack(harmonics * 2, axis=1).astype(np.float32)
    return [part.astype(np.float32) for part in parts], targets


def test_new_rows_lie_where_either_modality_says_and_the_model_keeps_it():
    torch.manual_seed(0)
    config = NetworkConfig(hdn=12, rep=8, diffusion=True)
    embedding = EmbeddingConfig(space=Space.diffusion, solved=True, landmarks=64)
    model = Model(5, 7, config, embedding=embedding).eval()
    parts, targets = bent()
    store, rows = PairStore(*parts, np.ones((400, 2), dtype=bool)), np.arange(300)
    fit_embedding(model, store, rows, Taught(rows, targets))
    first, second = (torch.from_numpy(part[300:]) for part in parts)
    shown = {}
    for kind in ([True, True], [True, False], [False, True]):
        present = torch.tensor([kind]).expand(100, 2)
        found = (model.embed(first, second, present) * 8**0.5).detach()
        shown[tuple(kind)] = found
        error = (found - torch.from_numpy(targets[300:])).square().mean()
        assert error < 0.1 * np.var(targets)
    # From Python as from a file: the description and the buffers make the same model.
    again = build_model(describe_model(model)).eval()
    again.load_state_dict(model.state_dict())
    present = torch.tensor([[True, False]]).expand(100, 2)
    same = again.embed(first, second, present) * 8**0.5
    torch.testing.assert_close(same, shown[True, False], rtol=0.0, atol=0.0)
    described = describe_model(model)
    del described["embedding"]["landmarks"]  # as saved before there were any
    assert build_model(described).finish.config.landmarks == 0


def test_landmarks_are_refused_where_nothing_could_be_solved():
    with pytest.raises(UserError, match=r"embedding\.landmarks=9 is of the solved"):
        EmbeddingConfig(landmarks=9)
    with pytest.raises(UserError, match=r"embedding\.landmarks=-1: must be in"):
        EmbeddingConfig(space=Space.diffusion, solved=True, landmarks=-1)
    config = NetworkConfig(hdn=12, rep=8, diffusion=True)
    embedding = EmbeddingConfig(space=Space.diffusion, solved=True, landmarks=8)
    parts, _ = bent(30)
    store = PairStore(*parts, np.ones((30, 2), dtype=bool))
    with pytest.raises(UserError, match=r"embedding\.landmarks needs 20 complete rows .* are 19"):
        fit_embedding(Model(5, 7, config, embedding=embedding), store, np.arange(19))


def single(landmarks=64):
    torch.manual_seed(0)
    config = NetworkConfig(hdn=12, rep=8, diffusion=True)
    embedding = EmbeddingConfig(space=Space.diffusion, solved=True, landmarks=landmarks)
    return Model(5, 7, config, embedding=embedding).eval()


@pytest.mark.parametrize("zeros", [False, True])
def test_a_modality_of_ten_rows_is_a_regression_on_these_ten(monkeypatch, zeros):
    monkeypatch.setattr(landmarks, "JITTER", 1e-6)
    model, (parts, targets) = single(), bent()
    present = np.ones((400, 2), dtype=bool)
    first, second = parts[0].copy(), parts[1].copy()
    if zeros:  # there, and say nothing
        second[10:] = 0.0
    else:
        present[10:, 1] = False
    store, rows = PairStore(first, second, present), np.arange(300)
    fit_embedding(model, store, rows[:20], Taught(rows, targets))
    asked = torch.from_numpy(parts[1][300:])
    shown = torch.tensor([[False, True]]).expand(100, 2)
    found = (model.embed(torch.zeros(100, 5), asked, shown) * 8**0.5).numpy()
    centre, own = np.eye(10) - 1 / 10, kernel(parts[1][:10], parts[1][:10])
    near = centre @ own @ centre
    dense = KernelRidge(alpha=0.1 * np.trace(near) / 10, kernel="precomputed")
    dense.fit(near, targets[:10] - targets[:10].mean(axis=0))
    other = (kernel(parts[1][300:], parts[1][:10]) - own.mean(axis=0)) @ centre
    expected = dense.predict(other) + targets[:10].mean(axis=0)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert np.square(found - targets[300:]).mean() < 0.8 * np.var(targets)


def test_rows_that_are_all_alike_say_the_mean():
    model, (parts, targets) = single(), bent()
    parts[1][:] = parts[1][0]
    store, rows = PairStore(*parts, np.ones((400, 2), dtype=bool)), np.arange(300)
    fit_embedding(model, store, rows, Taught(rows, targets))
    shown = torch.tensor([[False, True]]).expand(400, 2)
    found = model.embed(*(torch.from_numpy(part) for part in parts), shown) * 8**0.5
    expected = np.broadcast_to(targets[:300].mean(axis=0), (400, 8))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("side", "name"), [(0, "first"), (1, "second")])
def test_a_modality_of_which_no_row_says_anything_is_refused(side, name):
    parts, targets = bent(30)
    parts[side][:] = 0.0
    store, rows = PairStore(*parts, np.ones((30, 2), dtype=bool)), np.arange(30)
    said = f"embedding.landmarks: none of the 30 .* anything of its {name} modality"
    with pytest.raises(UserError, match=said):
        fit_embedding(single(), store, rows, Taught(rows, targets))
