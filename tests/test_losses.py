"""Losses against plain NumPy."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from bidnn.losses import LossConfig, Weighting, alignment, neighbourhood, pair_loss
from bidnn.network import Outputs


@pytest.fixture
def batch():
    generator = np.random.default_rng(0)
    sizes = {"first": 3, "second": 5, "first_centre": 4, "second_centre": 4}
    sizes |= {"out_first": 3, "out_second": 5, "first_self": 3, "second_self": 5}
    return {name: generator.normal(size=(6, size)) for name, size in sizes.items()}


PRESENT = np.array([[1, 1], [1, 0], [0, 1], [1, 1], [1, 1], [0, 0]], dtype=bool)


def loss(batch, config, present=None):
    tensors = {name: torch.from_numpy(values) for name, values in batch.items()}
    outputs = Outputs(
        tensors["first_centre"],
        tensors["second_centre"],
        tensors["out_first"],
        tensors["out_second"],
        tensors["first_self"],
        tensors["second_self"],
    )
    shown = None if present is None else torch.from_numpy(present)
    return pair_loss(outputs, tensors["first"], tensors["second"], config, shown)


def squares(batch, name, target, rows=slice(None)):
    return ((batch[name] - batch[target]) ** 2)[rows]


def test_the_papers_loss_is_one_mean_over_all_components(batch):
    both = [squares(batch, "out_first", "first"), squares(batch, "out_second", "second")]
    found = loss(batch, LossConfig())
    assert found["loss"].item() == pytest.approx(np.concatenate(both, axis=1).mean())
    assert found["second_to_first"].item() == pytest.approx(both[0].mean())
    assert found["first_to_second"].item() == pytest.approx(both[1].mean())


def test_separate_means_give_both_modalities_the_same_weight(batch):
    means = [
        squares(batch, "out_first", "first").mean(),
        squares(batch, "out_second", "second").mean(),
    ]
    found = loss(batch, LossConfig(weighting=Weighting.modalities))["loss"].item()
    assert found == pytest.approx(np.mean(means))


def test_incomplete_rows_count_in_the_self_paths_of_what_they_have_only(batch):
    config = LossConfig(weighting=Weighting.modalities, self_weight=0.25, incomplete_rows=True)
    both = PRESENT.all(axis=1)
    cross = [
        squares(batch, "out_first", "first", both).mean(),
        squares(batch, "out_second", "second", both).mean(),
    ]
    itself = [
        squares(batch, "first_self", "first", PRESENT[:, 0]).mean(),
        squares(batch, "second_self", "second", PRESENT[:, 1]).mean(),
    ]
    expected = 0.75 * np.mean(cross) + 0.25 * np.mean(itself)
    assert loss(batch, config, PRESENT)["loss"].item() == pytest.approx(expected)


def test_a_batch_without_any_complete_row_still_trains_the_self_paths(batch):
    config = LossConfig(self_weight=0.5, incomplete_rows=True)
    present = np.tile([[True, False]], (6, 1))
    share = 3 / 8
    expected = 0.5 * share * squares(batch, "first_self", "first").mean()
    assert loss(batch, config, present)["loss"].item() == pytest.approx(expected)


def unit(values):
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_alignment_is_the_cross_entropy_of_finding_ones_own_partner(batch):
    left, right = unit(batch["first_centre"]), unit(batch["second_centre"])
    logits = left @ right.T / 0.2
    forth, back = log_softmax(logits, axis=1), log_softmax(logits.T, axis=1)
    expected = -(np.diag(forth).mean() + np.diag(back).mean()) / 2
    centres = [torch.from_numpy(batch[f"{name}_centre"]) for name in ("first", "second")]
    assert alignment(*centres, 0.2).item() == pytest.approx(expected)
    total = loss(batch, LossConfig(alignment=2.0, temperature=0.2))["loss"].item()
    assert total == pytest.approx(loss(batch, LossConfig())["loss"].item() + 2 * expected)


def test_neighbourhood_is_the_divergence_of_the_centres_neighbours_from_the_inputs(batch):
    def neighbours(values):
        cosines = unit(values) @ unit(values).T / 0.1
        np.fill_diagonal(cosines, -np.inf)
        return log_softmax(cosines, axis=1)

    target, found = neighbours(batch["first"]), neighbours(batch["first_centre"])
    others = ~np.eye(6, dtype=bool)
    expected = (np.exp(target[others]) * (target[others] - found[others])).sum() / 6
    tensors = torch.from_numpy(batch["first"]), torch.from_numpy(batch["first_centre"])
    assert neighbourhood(*tensors).item() == pytest.approx(expected)
    assert neighbourhood(tensors[0], tensors[0]).item() == pytest.approx(0, abs=1e-12)


def test_the_masked_terms_look_at_the_rows_that_have_what_they_compare(batch):
    rows = torch.tensor([True, False, True, True, False, False])
    tensors = torch.from_numpy(batch["first"]), torch.from_numpy(batch["first_centre"])
    kept = [values[rows] for values in tensors]
    assert neighbourhood(*tensors, rows).item() == pytest.approx(neighbourhood(*kept).item())
    assert neighbourhood(*tensors, torch.zeros(6, dtype=torch.bool)).item() == 0
    pair = torch.from_numpy(batch["first_centre"]), torch.from_numpy(batch["second_centre"])
    expected = alignment(pair[0][rows], pair[1][rows], 0.1).item()
    assert alignment(*pair, 0.1, rows).item() == pytest.approx(expected)


def test_every_term_is_given_under_its_name_and_only_the_sum_has_gradients(batch):
    config = LossConfig(self_weight=0.5, alignment=0.1, neighbourhood=0.2)
    batch = {name: values.astype(np.float32) for name, values in batch.items()}
    terms = loss(batch, config)
    assert list(terms) == [
        *("loss", "first_to_second", "second_to_first", "self", "alignment", "neighbourhood"),
    ]
    share = 5 / 8
    cross = share * terms["first_to_second"] + (1 - share) * terms["second_to_first"]
    expected = 0.5 * cross + 0.5 * terms["self"]
    expected = expected + 0.1 * terms["alignment"] + 0.2 * terms["neighbourhood"]
    assert terms["loss"].item() == pytest.approx(expected.item())
