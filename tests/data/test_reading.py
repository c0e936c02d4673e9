"""Rows are read as those were that the model was trained on."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from bidnn import BiDNN, load
from bidnn.data import sources
from bidnn.data.formats.libsvm.grammar import IndexBase
from bidnn.data.formats.libsvm.text import LibsvmError
from bidnn.data.sources import LibsvmSource
from bidnn.data.store import Reading
from bidnn.programs.rows import open_rows
from bidnn.training.starting import pair_data
from tests.programs.running import TINY, succeed
from tests.training.fitting import settings

ZERO, ONE, UNSAID = "a 0:1 3:4\nb 1:2 2:3\n", "a 1:1 4:4\nb 2:2 3:3\n", "a 1:1 3:4\nb 2:2 3:3\n"


@pytest.fixture(params=[1, 2**20], ids=["cached", "in memory"])
def files(tmp_path, monkeypatch, request):
    """Files of 2 + 2 columns of which the last does not show where its indices start."""
    monkeypatch.setattr(sources, "CACHE_FROM", request.param)
    for name, text in (("zero", ZERO), ("one", ONE), ("unsaid", UNSAID)):
        (tmp_path / f"{name}.txt").write_text(text)
    return tmp_path


def source(path, **more):
    return LibsvmSource(path=str(path), mod1size=2, mod2size=2, **more)


def test_a_file_is_read_from_the_index_of_the_models_training_file_and_the_log_says_so(
    files, caplog
):
    trained = {
        name: open_rows(source(files / f"{name}.txt"), 0).reading for name in ("zero", "one")
    }
    assert trained == {"zero": Reading(IndexBase.zero), "one": Reading(IndexBase.one)}
    for name, first in (("zero", [0, 1]), ("one", [1, 0])):
        with caplog.at_level(logging.INFO):
            store = open_rows(source(files / "unsaid.txt"), 0, None, trained[name])
        assert store.take(slice(None))[0][0].tolist() == first
        assert f"indices start at {name}, as in the model's training file" in caplog.text
        assert store.reading == trained[name]


def test_a_file_that_contradicts_the_model_is_refused_unless_the_settings_say_so(files):
    with pytest.raises(LibsvmError, match="set index_base=zero if they start at 0"):
        open_rows(source(files / "zero.txt"), 0, None, Reading(IndexBase.one))
    own = source(files / "zero.txt", index_base=IndexBase.zero)
    store = open_rows(own, 0, None, Reading(IndexBase.one))
    assert store.take(slice(None))[0][0].tolist() == [1, 0]


def test_rows_to_validate_on_are_read_as_those_that_train(files):
    own = source(files / "zero.txt", val_path=str(files / "unsaid.txt"), batch_size=1)
    config = settings()
    config = replace(config, data=replace(own, val_fraction=None))
    data = pair_data(config, own.open(None))
    assert data.val_store.take(slice(None))[0][0].tolist() == [0, 1]


def test_pythons_model_keeps_where_indices_start_and_how_zeros_are_meant(files, tmp_path):
    own = {"mod1size": 2, "mod2size": 2, "verbosity": 0, "epochs": 1, "hdn": 4, "rep": 2}
    net = BiDNN(**own, fname_in=str(files / "zero.txt"), ignore_zeroes=True, l2_norm=True)
    net.load_dataset().train().save(tmp_path / "model.pt")
    found = load(tmp_path / "model.pt")
    assert (found.config.l2_norm, found.config.ignore_zeroes) == (True, True)
    np.testing.assert_allclose(np.linalg.norm(found.load_dataset(net_rows()).predict(), axis=1), 1)
    assert net_rows()[0, :2].any() == 0  # a modality of zeros, which is data
    assert found._store.present.all()
    for later in (found, BiDNN(**own, load_model=str(tmp_path / "model.pt"))):
        later.config.fname_in = str(files / "unsaid.txt")
        assert later.load_dataset()._store.take(slice(None))[0][0].tolist() == [0, 1]


def net_rows():
    return np.array([[0, 0, 1, 2], [1, 2, 3, 4]], np.float32)


def test_a_fit_keeps_them_too_also_in_its_runs_folder(tmp_path):
    first, second = np.arange(12.0).reshape(6, 2) / 12, np.arange(12.0).reshape(6, 2) / 12
    own = {"hdn": 4, "rep": 2, "epochs": 1, "verbosity": 0, "recipe": "paper"}
    net = BiDNN(**own, l2_norm=True, ignore_zeroes=True, run_dir=str(tmp_path / "run"))
    vectors = net.fit(first, second).transform(first, second)
    found = load(tmp_path / "run")
    assert found.config.ignore_zeroes
    np.testing.assert_array_equal(found.transform(first, second), vectors)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


@pytest.mark.slow
def test_the_programs_hand_on_where_indices_start(files):
    def rows(name):
        return (
            "data=libsvm",
            f"data.path={files / name}.txt",
            "data.mod1size=2",
            "data.mod2size=2",
        )

    run = files / "run"
    succeed("scripts/train.py", *rows("zero"), *TINY, f"hydra.run.dir={run}", cwd=files)
    embed = (f"checkpoint={run}", f"output.path={files / 'embedded.npz'}")
    said = "unsaid.txt: indices start at zero, as in the model's training file"
    assert said in succeed("scripts/embed.py", *rows("unsaid"), *embed, cwd=files).err
    more = (*TINY, f"checkpoint={run}", f"hydra.run.dir={files / 'more'}")
    assert said in succeed("scripts/train.py", *rows("unsaid"), *more, cwd=files).err
    assert load(files / "more")._model.reading == Reading(IndexBase.zero)
