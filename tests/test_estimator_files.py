"""What Python saves is what Python loads, in both formats."""

import numpy as np
import pytest

import bidnn
from bidnn import BiDNN
from bidnn.original.model_file import read_model


@pytest.fixture
def pairs():
    generator = np.random.default_rng(0)
    hidden = generator.normal(size=(60, 2))
    first = np.tanh(hidden @ generator.normal(size=(2, 3))).astype(np.float32)
    second = np.tanh(hidden @ generator.normal(size=(2, 5))).astype(np.float32)
    return first, second


def quick(**more):
    sizes = {"mod1size": 3, "mod2size": 5, "hdn": 8, "rep": 4, "epochs": 1, "batch_size": 16}
    return BiDNN(**{**sizes, "verbosity": 0, **more})


@pytest.mark.parametrize("missing", [None, "duplicate", "translate"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"untied": True, "scaling": "standard", "embedding__centring": "presence"},
        {"scaling": "minmax", "embedding__centring": "complete", "embedding__whitening": 0.5},
        {"scaling": "unit", "act": "relu"},
        {"model": "concat_autoencoder", "scaling": "standard"},
        {"model": "multimodal_autoencoder", "embedding__centring": "presence"},
    ],
)
@pytest.mark.parametrize("verb", ["train", "fit"])
def test_train_predict_save_load_predict_gives_the_same_bytes(
    pairs, tmp_path, missing, settings, verb
):
    rows = np.hstack(pairs)
    rows[:5, :3], rows[5:10, 3:] = 0, 0
    first, second = (part.copy() for part in pairs)
    first[:5], second[5:10] = np.nan, np.nan
    net = quick(missing=missing, recipe="paper", **settings).load_dataset(rows)
    net = net.train() if verb == "train" else net.fit(first, second)
    expected = net.predict()
    net.save(tmp_path / "model.pt")
    found = bidnn.load(tmp_path / "model.pt").load_dataset(rows)
    assert found.predict().tobytes() == expected.tobytes()
    assert found.transform(first, second).tobytes() == net.transform(first, second).tobytes()
    np.testing.assert_array_equal(net.transform(first, second), expected)


def test_a_model_of_the_original_is_saved_for_it_and_loaded_again(pairs, tmp_path):
    rows = np.hstack(pairs)
    rows[:5, :3] = 0
    net = quick().load_dataset(rows).train()
    net.save(tmp_path / "m.npz")
    assert read_model(tmp_path / "m.npz").config.hdn == 8
    found = bidnn.load(tmp_path / "m.npz").load_dataset(rows)
    np.testing.assert_array_equal(found.predict(), net.predict())


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"scaling": "standard"}, "scaling=standard"),
        ({"output_act": "linear"}, "model.output_activation=linear"),
        ({"embedding__unit": True}, "embedding.unit=true"),
        ({"model": "concat_autoencoder"}, "model=concat_autoencoder"),
    ],
)
def test_what_the_originals_format_cannot_hold_is_refused_by_name(pairs, tmp_path, settings, named):
    net = quick(**settings).load_dataset(np.hstack(pairs)).train()
    with pytest.raises(ValueError, match=rf"m\.npz: .* not {named};"):
        net.save(tmp_path / "m.npz")
    assert not list(tmp_path.iterdir())
    writes = quick(save_model=str(tmp_path / "m_%e.npz"), epochs=10**6, **settings)
    with pytest.raises(ValueError, match=rf"m_final\.npz: .* not {named};"):
        writes.load_dataset(np.hstack(pairs)).train()  # at once, not after all epochs


def test_a_strategy_that_the_originals_format_does_not_say_is_refused_for_loading(pairs, tmp_path):
    net = quick(missing="translate", save_model=str(tmp_path / "w.npz"))
    net.load_dataset(np.hstack(pairs)).train()
    assert (tmp_path / "w.npz").is_file()  # for those who say the strategy on using it
    with pytest.raises(ValueError, match=r"m\.npz: .* not missing=translate; train with that"):
        net.save(tmp_path / "m.npz")


@pytest.mark.parametrize("name", ["m.txt", "m.npy", "m.parquet", "m.mat"])
def test_a_suffix_of_another_format_is_refused(pairs, tmp_path, name):
    net = quick().load_dataset(np.hstack(pairs)).train()
    with pytest.raises(ValueError, match=r"another program's format; a model is \.pt"):
        net.save(tmp_path / name)


@pytest.mark.parametrize("name", ["m", "m.pt", "m.ckpt", "m.v2"])
def test_any_other_name_is_a_bundle(pairs, tmp_path, name):
    net = quick().load_dataset(np.hstack(pairs)).train()
    net.save(tmp_path / name)
    found = bidnn.load(tmp_path / name)
    np.testing.assert_array_equal(found.transform(*pairs), net.transform(*pairs))


def test_a_loaded_autoencoder_is_trained_on_as_one(pairs, tmp_path):
    quick(model="concat_autoencoder", recipe="paper").fit(*pairs).save(tmp_path / "m.pt")
    again = bidnn.load(tmp_path / "m.pt")
    again.fit(*pairs).save(tmp_path / "again.pt")
    assert bidnn.load(tmp_path / "again.pt")._model.network.config.architecture.value == (
        "concat_autoencoder"
    )


def test_what_a_mask_hides_is_neither_trained_on_nor_embedded(pairs):
    first, second = pairs
    hidden, plain = first.copy(), first.copy()
    hidden[:5], plain[:5] = 99.0, np.nan
    mask = np.zeros(first.shape, bool)
    mask[:5] = True
    masked = np.ma.masked_array(hidden, mask=mask)
    expected = quick().fit(plain, second).transform(plain, second)
    np.testing.assert_array_equal(quick().fit(masked, second).transform(masked, second), expected)
    rows = np.ma.hstack([masked, second])
    labels = np.ma.masked_array(np.arange(60), mask=np.arange(60) == 7)
    with pytest.raises(ValueError, match="labels: the label of row 7, counted from 0, is masked"):
        quick().load_dataset(rows, labels)
    found = quick().load_dataset(rows).train().predict()
    np.testing.assert_array_equal(found[:5, :2], found[:5, 2:])
