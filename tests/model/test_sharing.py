"""Directions that both modalities share: an eigenproblem gives the same, and rows are found."""

import itertools

import numpy as np
import pytest
import torch
from scipy.linalg import eigh

from bidnn.architecture import NetworkConfig
from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.evaluation.mixed import mixed_pool
from bidnn.losses import LossConfig
from bidnn.model import sharing
from bidnn.model.finishing import Centring, EmbeddingConfig, Finish, MissingStrategy, Space
from bidnn.model.fitting import fit_embedding
from bidnn.model.inference import embed
from bidnn.model.model import Model
from bidnn.model.saved import load_bundle, save_bundle
from bidnn.model.scaling import ScalingConfig, ScalingKind
from tests.training.fitting import run

KINDS = [[True, True], [True, False], [False, True]]


def views(rows, sizes=(5, 4), common=2, seed=0):
    """Two modalities of which `common` directions say the same but for a little noise."""
    generator = np.random.default_rng(seed)
    shared = generator.normal(size=(rows, common))
    parts = []
    for size in sizes:
        own = np.concatenate([shared, generator.normal(size=(rows, size - common))], axis=1)
        mixed = own @ np.linalg.qr(generator.normal(size=(size, size)))[0]
        parts.append((mixed + 0.05 * generator.normal(size=(rows, size))).astype(np.float32))
    return parts


def correlations(first, second):
    """Canonical correlations with the ridge, by the eigenproblem of the joint covariance."""
    first, second = (part.astype(np.float64) - part.mean(axis=0) for part in (first, second))
    joint = np.cov(np.concatenate([first, second], axis=1).T, bias=True)
    own, size = np.zeros_like(joint), first.shape[1]
    for block in (slice(0, size), slice(size, None)):
        part = joint[block, block]
        ridge = sharing.RIDGE * np.linalg.eigvalsh(part)[-1]
        own[block, block] = part + ridge * np.eye(len(part))
    cross = joint.copy()
    cross[:size, :size] = cross[size:, size:] = 0.0
    return eigh(cross, own, eigvals_only=True)[::-1]


def test_variates_have_the_regularised_canonical_correlation_to_the_power_as_deviation():
    parts = views(300)
    expected = correlations(*parts)[:4]
    for power in (1.0, 2.0):
        maps = sharing.shared_directions(*map(torch.from_numpy, parts), power)
        for part, found in zip(parts, maps, strict=True):
            variates = part.astype(np.float64) @ found.numpy()
            np.testing.assert_allclose(variates.std(axis=0), expected**power, rtol=1e-5)
    assert expected[1] > 0.9 > 0.4 > expected[2]


def test_wide_vectors_of_few_rows_have_the_maps_that_narrow_ones_have():
    first, second = views(30)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(60, 60)))[0].astype(np.float32)
    narrow = sharing.shared_directions(torch.from_numpy(first), torch.from_numpy(second), 1.0)
    wide = [torch.from_numpy(part @ turn[: part.shape[1]]) for part in (first, second)]
    maps = sharing.shared_directions(wide[0], wide[1], 1.0)
    for part, found, own, values in zip(wide, maps, narrow, (first, second), strict=True):
        expected = np.abs(values.astype(np.float64) @ own.numpy())
        np.testing.assert_allclose(
            np.abs(part.double().numpy() @ found.numpy()), expected, 1e-3, 1e-4
        )


def trained_on(parts, shared, **settings):
    torch.manual_seed(0)
    embedding = {"space": Space.inputs, "centring": Centring.presence, "shared": shared}
    scaling = ScalingConfig(kind=ScalingKind.none)
    sizes = (part.shape[1] for part in parts)
    config = EmbeddingConfig(**{**embedding, **settings})
    model = Model(*sizes, NetworkConfig(hdn=6, rep=4), scaling, config).eval()
    store = PairStore(*parts, np.ones((len(parts[0]), 2), dtype=bool))
    fit_embedding(model, store, store.complete)
    return model


@pytest.mark.parametrize("space", [Space.inputs, Space.centres])
def test_a_row_is_the_sum_of_what_its_modalities_say_in_the_shared_directions(space):
    parts = views(50)
    model = trained_on(parts, 1.5, space=space)
    plain = trained_on(parts, 0.0, space=space)
    shown = [PairStore(*parts, np.tile(kind, (50, 1))) for kind in KINDS]
    raw, found = ([embed(m, store) for store in shown] for m in (plain, model))
    maps = sharing.shared_directions(torch.from_numpy(raw[1]), torch.from_numpy(raw[2]), 1.5)
    for vectors, kind, own in zip(raw, KINDS, found, strict=True):
        expected = sum(vectors @ m.numpy() for m, has in zip(maps, kind, strict=True) if has)
        np.testing.assert_allclose(own[:, : expected.shape[1]], expected, atol=1e-4)
        assert not own[:, expected.shape[1] :].any()


def test_rows_with_one_modality_are_found_by_rows_with_the_other():
    parts = views(400, sizes=(6, 6), common=4)
    items = np.tile(np.arange(200, 400), 3)
    present = np.repeat(KINDS, 200, axis=0)
    found = {}
    for shared in (0.0, 1.5):
        # The other modality is not translated: both are what they say of themselves.
        model = trained_on([part[:200] for part in parts], shared, space=Space.inputs)
        pool = PairStore(*(part[items] for part in parts), present)
        found[shared] = mixed_pool(embed(model, pool), present, items=items)
    for kind in ("first-only", "second-only"):
        before, after = found[0.0][kind], found[1.5][kind]
        assert after.pair_recall > max(0.8, 3 * before.pair_recall)
        assert min(after.shares.values()) > 0.6 > min(before.shares.values())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"shared": -1.0, "centring": Centring.presence}, r"embedding\.shared=-1"),
        ({"shared": 1.0}, r"embedding\.centring=presence"),
        (
            {"shared": 1.0, "centring": Centring.presence, "whitening": 0.5},
            r"embedding\.whitening=0",
        ),
    ],
)
def test_what_cannot_be_shared_is_refused(settings, said):
    with pytest.raises(UserError, match=said):
        EmbeddingConfig(**settings)


def test_too_few_complete_rows_are_refused_before_training():
    first, second = views(25)
    store = PairStore(first, second, np.ones((25, 2), dtype=bool))
    store.present[:10, 0] = False
    embedding = EmbeddingConfig(centring=Centring.presence, shared=1.5)
    with pytest.raises(UserError, match=r"embedding\.shared needs 20 complete rows.*there are 15"):
        run(store, epochs=1, embedding=embedding)


def test_without_shared_directions_nothing_is_kept_for_them():
    assert Finish(4, EmbeddingConfig()).shared.numel() == 0
    kept = Finish(4, EmbeddingConfig(centring=Centring.presence, shared=1.0)).shared
    assert kept.shape == (len(MissingStrategy), 2, 4, 4)


def test_a_saved_model_has_the_same_directions(tmp_path):
    parts = views(50)
    model = trained_on(parts, 1.5, space=Space.centres)
    save_bundle(tmp_path / "model.pt", model)
    found = load_bundle(tmp_path / "model.pt")
    for kind, missing in itertools.product(KINDS, MissingStrategy):
        store = PairStore(*parts, np.tile(kind, (50, 1)))
        expected, again = (embed(m.with_missing(missing), store) for m in (model, found))
        assert expected.any()
        np.testing.assert_array_equal(again, expected)


@pytest.mark.parametrize("shared", [0.0, 1.5])
def test_modalities_of_zeros_say_nothing_of_a_row_nor_of_what_is_shared(shared):
    """In the space of diffusion, where they count as missing."""
    parts = views(60)
    silent = [part.copy() for part in parts]
    silent[1][:20] = 0.0
    silent[0][:5] = 0.0
    settings = {"space": Space.diffusion, "centring": Centring.presence, "shared": shared}
    torch.manual_seed(0)
    network = NetworkConfig(hdn=6, rep=4, diffusion=True)
    whole = Model(5, 4, network, ScalingConfig(kind=ScalingKind.none), EmbeddingConfig(**settings))
    store = PairStore(*silent, np.ones((60, 2), dtype=bool))
    fit_embedding(whole, store, store.complete)
    fitted = {name: value.clone() for name, value in whole.finish.named_buffers()}
    fit_embedding(whole, store, np.arange(20, 60))
    for name, value in whole.finish.named_buffers():
        np.testing.assert_array_equal(value, fitted[name])
    found = embed(whole, store)
    assert not found[:5].any()
    only = store.present.copy()
    only[:20, 1] = False
    np.testing.assert_array_equal(found[5:], embed(whole, PairStore(*silent, only))[5:])


def test_rows_that_say_nothing_are_not_enough_to_find_what_is_shared():
    parts = views(40)
    parts[1][5:] = 0.0  # in the space of diffusion, as if it were missing
    store = PairStore(*parts, np.ones((40, 2), dtype=bool))
    embedding = EmbeddingConfig(space=Space.diffusion, centring=Centring.presence, shared=1.5)
    more = {"network": {"diffusion": True}, "loss": LossConfig(diffusion=1.0)}
    with pytest.raises(UserError, match=r"there are 5; set embedding\.shared=0"):
        run(store, epochs=1, val_fraction=0.0, embedding=embedding, **more)


@pytest.mark.parametrize("second", [torch.zeros(30, 3), torch.ones(30, 3)])
def test_a_network_that_has_died_shares_nothing_and_stops_no_checkpoint(second):
    maps = sharing.shared_directions(torch.zeros(30, 4), second, 1.5)
    assert [part.shape for part in maps] == [(4, 0), (3, 0)]
    finish = Finish(4, EmbeddingConfig(centring=Centring.presence, shared=1.5))
    finish.fit_shared(torch.zeros(30, 4), torch.zeros(30, 4), (0, 1))
    present = torch.ones(2, 2, dtype=torch.bool)
    assert not finish(torch.ones(2, 4), present, MissingStrategy.translate).any()
