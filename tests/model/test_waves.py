"""Waves against the kernel that they stand for."""

import numpy as np
import pytest
import torch

from bidnn.model import waves as room
from bidnn.model.waves import WAVES, Waves


def fitted(rows):
    level = rows.mean(axis=0)
    found = Waves(rows.shape[1])
    found.fit(level, ((rows - level) ** 2).sum(axis=1).mean() ** 0.5)
    return found


@pytest.mark.parametrize("size", [1, 6, 100, 700])
def test_their_products_are_the_gaussian_kernel_beside_those_of_values(size):
    rows = np.random.default_rng(0).normal(3, 2, size=(60, size))
    found = fitted(rows)(torch.from_numpy(rows)).numpy()
    assert found.shape == (60, size + 2 * WAVES)
    centred = rows - rows.mean(axis=0)
    mean_square = (centred**2).sum(axis=1).mean()
    np.testing.assert_allclose(found[:, :size], centred / mean_square**0.5, rtol=1e-5, atol=1e-6)
    distances = ((centred[:, None] - centred) ** 2).sum(axis=2)
    kernel = np.exp(-distances / (2 * mean_square))
    errors = found[:, size:] @ found[:, size:].T - kernel
    assert np.abs(errors).max() < 0.2
    # What as many directions have that know nothing of each other, at most (Rahimi and Recht).
    assert (errors**2).mean() < 1 / (2 * WAVES)


def test_directions_are_orthogonal_as_far_as_they_can_be_and_the_same_for_everybody():
    for size in (6, 700):
        one, other = (fitted(np.random.default_rng(s).normal(size=(9, size))) for s in (0, 1))
        assert torch.equal(one.directions, other.directions)
        block = one.directions[:, : min(size, WAVES)]
        products = (block / block.norm(dim=0)).T @ (block / block.norm(dim=0))
        torch.testing.assert_close(products, torch.eye(len(products)), rtol=0.0, atol=1e-5)
        lengths = one.directions.square().sum(dim=0)
        assert float(lengths.mean()) == pytest.approx(size, rel=0.1)


def test_of_many_columns_only_waves_are_inputs(monkeypatch):
    rows = np.random.default_rng(0).normal(size=(20, 8))
    values = torch.from_numpy(rows)
    whole = fitted(rows)(values)
    monkeypatch.setattr(room, "WIDEST", 7)
    found = fitted(rows)
    assert found.count == 2 * WAVES
    torch.testing.assert_close(found(values), whole[:, 8:])


@pytest.mark.parametrize("value", [7.0, 0.1, 1e-40, 1e38])
def test_rows_that_are_all_the_same_have_the_same_finite_waves(value):
    rows = np.full((20, 3), value)
    found = fitted(rows)(torch.from_numpy(rows).float())
    assert torch.isfinite(found).all()
    assert (found[:, :3].abs() <= 1e-6 * value).all()
    assert (found == found[0]).all()


@pytest.mark.parametrize("size", [1e-42, 1e-30, 1e30, 5e37])
def test_rows_of_any_size_have_finite_waves(size):
    rows = np.random.default_rng(0).uniform(-3, 3, size=(20, 40)) * size
    assert torch.isfinite(fitted(rows)(torch.from_numpy(rows).float())).all()
