"""The Python interface: the original's verbs and scikit-learn's."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from lightning import Callback
from scipy import sparse
from sklearn.exceptions import NotFittedError

import bidnn
from bidnn import BiDNN, Config, pack
from bidnn.errors import UserError
from tests.reading import arrays

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def pairs():
    generator = np.random.default_rng(0)
    hidden = generator.normal(size=(80, 2))
    first = np.tanh(hidden @ generator.normal(size=(2, 3))).astype(np.float32)
    second = np.tanh(hidden @ generator.normal(size=(2, 5))).astype(np.float32)
    return first, second


def quick(**more):
    return BiDNN(**{"hdn": 16, "rep": 8, "epochs": 3, "batch_size": 16, "verbosity": 0, **more})


def test_early_stopping_and_rows_to_validate_on_need_no_folder(pairs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    other = tuple(part[:20] + np.float32(0.01) for part in pairs)
    seen = {}

    class Look(Callback):
        def on_validation_end(self, trainer, pl_module):
            seen[trainer.current_epoch] = float(trainer.callback_metrics["val/loss"])
            data = trainer.datamodule
            assert len(data.val_rows) == 20
            np.testing.assert_array_equal(data.val_store.first, other[0])

    settings = {"recipe": "digits", "optimizer.lr": 1.0}
    stops = {"callbacks": "early_stopping", "callbacks.early_stopping.patience": 2}
    net = quick(epochs=40, **settings, **stops)
    net.fit(*pairs, validation=other, callbacks=[Look()])
    epochs = max(seen) + 1
    assert epochs < 40
    best = min(seen, key=seen.get)
    assert best == epochs - 3
    assert net.metrics["val/loss"] == pytest.approx(seen[max(seen)])
    assert net.history_["epoch"] == list(range(1, epochs + 1))
    assert net.history_["val/loss"] == pytest.approx(list(seen.values()))
    assert len(net.history_["train/loss"]) == epochs
    shorter = quick(epochs=best + 1, **settings)
    shorter.fit(*pairs, validation=other)
    np.testing.assert_array_equal(net.transform(*pairs), shorter.transform(*pairs))
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"validation: 3 \+ 4 columns, but"):
        quick().fit(*pairs, validation=(other[0], other[1][:, :4]))


def test_predict_embeds_the_rows_that_it_is_given(pairs):
    net = quick(epochs=1).fit(*pairs)
    both = np.hstack(pairs)
    for rows in (both, pack(*pairs), sparse.csr_array(both)):
        np.testing.assert_array_equal(net.predict(rows), net.transform(*pairs))
    np.testing.assert_array_equal(net.load_dataset(both).predict(), net.predict(both))
    assert (net.config.mod1size, net.config.mod2size) == (None, None)  # as it was given
    with pytest.raises(ValueError, match="features of 7"):
        net.predict(both[:, :-1])


def test_the_originals_way_works_field_by_field(pairs):
    conf = Config()
    conf.mod1size, conf.mod2size, conf.hdn, conf.rep = 3, 5, 16, 8
    conf.epochs, conf.batch_size, conf.verbosity = 2, 16, 0
    rows = np.hstack(pairs)
    rows[0, :3], rows[1, 3:] = 0, 0
    net = BiDNN(conf)
    net.load_dataset(sparse.csr_matrix(rows))
    net.train()
    out = net.predict()
    assert out.shape == (80, 8)
    np.testing.assert_array_equal(out[0, :4], out[0, 4:])  # duplicated, as published
    np.testing.assert_array_equal(out[1, :4], out[1, 4:])
    assert not np.array_equal(out[2, :4], out[2, 4:])
    dense = BiDNN(conf).load_dataset(rows).train().predict()
    np.testing.assert_allclose(dense, out, atol=1e-6)


def test_crossmodal_prediction_fills_in_what_is_missing(pairs):
    rows = np.hstack(pairs)
    rows[0, :3] = 0
    net = quick(mod1size=3, mod2size=5, crossmodal=True).load_dataset(rows).train()
    out = net.predict()
    np.testing.assert_array_equal(out[1:], rows[1:])
    np.testing.assert_array_equal(out[0, 3:], rows[0, 3:])
    np.testing.assert_allclose(out[:1, :3], net.translate(second=rows[:1, 3:]), atol=1e-6)


def test_zeroes_are_missing_in_the_originals_verbs_unless_they_are_ignored(pairs):
    rows = np.hstack(pairs)
    rows[:, :3] = 0
    with pytest.raises(ValueError, match="no row has both modalities"):
        quick(mod1size=3, mod2size=5).load_dataset(rows).train()
    quick(mod1size=3, mod2size=5, ignore_zeroes=True).load_dataset(rows).train()


def test_scikit_learns_way_works_with_anything_missing(pairs):
    first, second = (part.copy() for part in pairs)
    first[:5], second[5:10] = np.nan, np.nan
    net = quick(scaling="standard", output_act="linear").fit(first, second)
    embedding = net.transform(first, second)
    assert embedding.shape == (80, 8)
    np.testing.assert_allclose(embedding[:5], net.transform(second=second[:5]), atol=1e-6)
    np.testing.assert_allclose(embedding[5:10], net.transform(first[5:10]), atol=1e-6)
    np.testing.assert_allclose(net.transform(first[5:10].tolist()), embedding[5:10], atol=1e-6)
    with pytest.raises(UserError, match="missing=duplicate changes nothing"):
        net.transform(first[5:10], missing="duplicate")


def test_what_is_missing_is_duplicated_or_translated_where_centres_are_compared(pairs):
    first, second = (part.copy() for part in pairs)
    first[:5], second[5:10] = np.nan, np.nan
    net = quick(recipe="digits", output_act="linear", missing="translate").fit(first, second)
    twice = net.transform(first[5:10], missing="duplicate")
    np.testing.assert_array_equal(twice[:, :4], twice[:, 4:])
    again = net.transform(first[5:10], net.translate(first=first[5:10]))
    np.testing.assert_allclose(again, net.transform(first, second)[5:10], atol=1e-5)


def test_translations_are_in_the_units_of_the_data(pairs):
    first, second = pairs
    net = quick(epochs=150, scaling="standard", output_act="linear", dropout=0.0)
    net.fit(first * 100 + 7, second * 1000 - 3)
    found = net.translate(first=first * 100 + 7)
    error = ((found - (second * 1000 - 3)) ** 2).mean() / (second * 1000).var()
    assert error < 0.2


def test_the_same_seed_gives_the_same_embedding_and_another_one_does_not(pairs):
    one, same, other = (quick(seed=seed).fit_transform(*pairs) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)


def test_momentum_and_dropout_of_zero_are_obeyed(pairs):
    def embedding(**more):
        return quick(optimizer="sgd", lr=0.1, **more).fit_transform(*pairs)

    assert not np.allclose(embedding(momentum=0.0), embedding())
    assert not np.allclose(embedding(dropout=0.0), embedding(dropout=0.2))


def test_a_number_may_be_numpys_or_its_text(pairs):
    expected = quick(hdn=16, dropout=0.25).fit_transform(*pairs)
    for hdn, dropout in ((np.int64(16), np.float32(0.25)), ("16", "0.25")):
        found = quick(hdn=hdn, dropout=dropout).fit_transform(*pairs)
        np.testing.assert_array_equal(found, expected)


def test_a_saved_model_is_the_same_model(pairs, tmp_path):
    net = quick(scaling="minmax", act="sigmoid", untied=True).fit(*pairs)
    net.save(tmp_path / "model.pt")
    found = bidnn.load(tmp_path / "model.pt")
    np.testing.assert_array_equal(found.transform(*pairs), net.transform(*pairs))
    assert (found.config.act, found.config.untied, found.config.scaling) == (
        "sigmoid",
        True,
        "minmax",
    )


@pytest.mark.parametrize(("name", "act"), [("tied_tanh", "tanh"), ("untied_relu", "relu")])
def test_a_model_of_the_original_gives_the_originals_embedding(name, act):
    golden = arrays(GOLDEN / f"{name}.npz")
    sizes = golden["mod1size"].item(), golden["mod2size"].item()
    net = bidnn.load(GOLDEN / f"{name}_model.npz", act=act)
    net.load_dataset(golden["X"])
    rows = golden["X"].any(axis=1)
    np.testing.assert_allclose(net.predict()[rows], golden["embedding"][rows], rtol=1e-4, atol=1e-5)
    assert (net.config.mod1size, net.config.mod2size) == sizes


def test_loading_a_model_and_training_nothing_only_predicts(tmp_path):
    golden = arrays(GOLDEN / "tied_tanh.npz")
    conf = Config(mod1size=32, mod2size=32, hdn=48, rep=24, epochs=0, verbosity=0)
    conf.load_model = str(GOLDEN / "tied_tanh_model.npz")
    conf.fname_out = str(tmp_path / "out_%e.npz")
    conf.save_model = str(tmp_path / "model_%e.npz")
    rows = golden["X"].any(axis=1)
    BiDNN(conf).load_dataset(golden["X"]).train()
    written = arrays(tmp_path / "out_final.npz")["embedding"]
    np.testing.assert_allclose(written[rows], golden["embedding"][rows], rtol=1e-4, atol=1e-5)
    again = arrays(tmp_path / "model_final.npz")
    np.testing.assert_array_equal(again["arr_0"], golden["final_00"])


def test_a_training_starts_from_a_model_file_of_the_original(pairs, tmp_path):
    trained = quick(mod1size=3, mod2size=5).load_dataset(np.hstack(pairs)).train()
    trained.save(tmp_path / "m.npz")
    again = quick(checkpoint=str(tmp_path / "m.npz"), recipe="paper", epochs=0).fit(*pairs)
    np.testing.assert_array_equal(again.transform(*pairs), trained.transform(*pairs))
    net = quick(load_model=str(tmp_path / "m.npz"), model="concat_autoencoder", recipe="paper")
    with pytest.raises(ValueError, match=r"m\.npz: a model file of the original; set model=bidnn"):
        net.fit(*pairs)


def test_mistakes_are_refused(pairs, tmp_path):
    conf = Config()
    with pytest.raises(AttributeError):
        conf.hdm = 3
    with pytest.raises(TypeError):
        BiDNN(hdm=3)
    for more, match in (
        ({"rep": 7}, "rep=7"),
        ({"act": "tan"}, "act=tan: choose one of tanh"),
        ({"epochs": -1}, "epochs=-1"),
        ({"missing": "guess"}, "missing=guess"),
        ({"seed": None}, "^seed=None: field 'seed' is not Optional$"),
        ({"hdn": 16.0}, "^hdn=16.0: Value '16.0' of type 'float' could not be converted to Int"),
        ({"hdn": "wide"}, "^hdn=wide: Value 'wide' of type 'str' could not be converted to Int"),
    ):
        with pytest.raises(ValueError, match=match):
            quick(**more).fit(*pairs)
    with pytest.raises(ValueError, match="first has 80 rows, second 79"):
        quick().fit(pairs[0], pairs[1][1:])
    for error in (RuntimeError, NotFittedError):
        with pytest.raises(error, match="nothing is trained"):
            quick().transform(*pairs)
    with pytest.raises(RuntimeError, match="load_dataset"):
        quick().train()
    with pytest.raises(ValueError, match="mod1size and mod2size are not set"):
        quick().load_dataset(np.hstack(pairs))
    with pytest.raises(ValueError, match="X has 8 columns, not 3 \\+ 4"):
        quick(mod1size=3, mod2size=4).load_dataset(np.hstack(pairs))
    net = quick(epochs=1).fit(*pairs)
    with pytest.raises(TypeError, match="either first= or second="):
        net.translate()
    with pytest.raises(ValueError, match=r"features of 5 \+ 5 columns"):
        net.transform(first=pairs[1])
    (tmp_path / "file").write_text("x")
    net = quick(mod1size=3, mod2size=5, fname_out=str(tmp_path / "file" / "out.txt"))
    with pytest.raises(OSError, match="cannot be written"):
        net.load_dataset(np.hstack(pairs)).train()


def test_no_rows_give_no_rows(pairs, tmp_path):
    net = quick().fit(*pairs)
    none = [part[:0] for part in pairs]
    assert net.transform(*none).shape == (0, 8)
    assert net.translate(first=none[0]).shape == (0, 5)
    assert net.translate(second=none[1]).shape == (0, 3)
    for rows in (np.hstack(none), sparse.csr_array(np.hstack(none))):
        assert net.load_dataset(rows).predict().shape == (0, 8)
        net.config.crossmodal = True
        assert net.predict().shape == (0, 8)
        net.config.crossmodal = False


def test_frames_go_in_and_come_out_with_their_ids_and_the_same_numbers(pairs):
    first, second = (part.copy() for part in pairs)
    second[3] = np.nan
    names = [f"v{row}" for row in range(80)]
    plain = quick().fit(first, second)
    expected, translated = plain.transform(first, second), plain.translate(first=first)
    one = pd.DataFrame(first, columns=["a", "b", "c"], index=names)
    other = pd.DataFrame({"vector": list(second)}, index=names)
    other.loc["v3", "vector"] = None
    net = quick().fit(one, other)
    found = net.transform(one, other)
    assert found.index.tolist() == names
    assert found.columns.tolist() == [f"bidnn{n}" for n in range(8)]
    np.testing.assert_array_equal(found.to_numpy(), expected)
    alone = net.translate(first=pl.from_pandas(one[["a", "b", "c"]]))
    assert alone.columns == [f"second{n}" for n in range(5)]
    np.testing.assert_array_equal(alone.to_numpy(), translated)
    back = net.translate(second=other[:2])
    assert (back.columns.tolist(), back.index.tolist()) == (["a", "b", "c"], names[:2])
    np.testing.assert_array_equal(net.transform(first, second), expected)
    with pytest.raises(UserError, match="first: column 0, counted from 0, is named b, and was nam"):
        net.transform(one[["b", "a", "c"]], other)
    with pytest.raises(UserError, match="row 0, counted from 0, is 'v0' in one and 'v1' in the ot"):
        net.fit(one[:-1], other[1:])


def test_the_container_of_what_comes_out_can_be_chosen(pairs):
    net = quick().fit(*pairs)
    expected = net.transform(*pairs)
    found = net.set_output(transform="polars").transform(*pairs)
    assert isinstance(found, pl.DataFrame)
    np.testing.assert_array_equal(found.to_numpy(), expected)
    assert net.set_output().transform(*pairs).equals(found)
    table = net.set_output(transform="pyarrow").transform(*pairs)
    np.testing.assert_array_equal(np.stack(table["embedding"].to_pylist()), expected)
    assert isinstance(net.set_output(transform="default").transform(*pairs), np.ndarray)
    with pytest.raises(UserError, match="transform=arrow: choose one of default, pandas, polars,"):
        net.set_output(transform="arrow")


def test_the_ids_of_a_frame_are_those_of_the_output(pairs, tmp_path):
    frame = pl.DataFrame(np.hstack(pairs)).insert_column(0, pl.Series("id", range(100, 180)))
    net = quick(mod1size=3, mod2size=5, fname_out=str(tmp_path / "out.npz"))
    net.load_dataset(frame).train()
    assert arrays(tmp_path / "out.npz")["id"].tolist() == list(range(100, 180))
    with pytest.raises(UserError, match="ids of X: rows 0 and 1, counted from 0, have the same id"):
        net.load_dataset(pd.DataFrame(np.hstack(pairs), index=[7] * 80))
