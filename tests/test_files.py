"""Files are whole or not there: plain files, outputs, bundles and model files."""

import errno
import fcntl
import json
import os
import pickle
import stat
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from sklearn.datasets import load_svmlight_file

from bidnn.architecture import NetworkConfig
from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.files import (
    LOCK,
    as_json,
    check_writable,
    held,
    new_folder,
    remove_leftovers,
    whole_file,
    whole_folder,
)
from bidnn.model.finishing import Centring, EmbeddingConfig, MissingStrategy
from bidnn.model.fitting import fit_embedding
from bidnn.model.inference import OutputKind, embed
from bidnn.model.model import Model
from bidnn.model.outputs import OutputConfig, write_output
from bidnn.model.saved import check_settings, load_bundle, save_bundle
from bidnn.model.scaling import ScalingConfig, ScalingKind, Transform
from bidnn.original.model_file import read_model, write_model
from tests.reading import arrays


def model(**more):
    torch.manual_seed(0)
    scaling = ScalingConfig(kind=ScalingKind.standard, transform=Transform.sqrt)
    embedding = EmbeddingConfig(centring=Centring.complete, whitening=0.5)
    return Model(3, 4, NetworkConfig(hdn=6, rep=4, **more), scaling, embedding).eval()


@pytest.fixture
def store():
    generator = np.random.default_rng(0)
    present = np.ones((9, 2), dtype=bool)
    present[0, 0] = present[1, 1] = False
    labels = np.array(["+1", "1.0", "cat", "3,7", "-1", "0", "7", "8", "9"])
    first = generator.normal(size=(9, 3)).astype(np.float32)
    return PairStore(first, generator.normal(size=(9, 4)).astype(np.float32), present, labels)


def write(store, path, **more):
    config = OutputConfig(path=str(path), **more)
    return write_output(model(), store, config, None)


def test_a_file_that_is_interrupted_leaves_what_stood_there_and_nothing_else(tmp_path):
    path = tmp_path / "deep" / "file"
    with whole_file(path) as file:
        file.write(b"old")

    def interrupted():
        with whole_file(path) as file:
            file.write(b"half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("make", [whole_file, whole_folder])
def test_only_what_no_living_process_holds_is_left_over(tmp_path, make):
    path = tmp_path / "out"
    for name in (".out.0123abcd.part", ".out.npz.0123abcd.part", ".out.mine.part"):
        (tmp_path / name).write_text("left")
    (tmp_path / ".out.4567abcd.part").mkdir()
    with make(path):
        with make(path):  # a second writer at the same time
            parts = {found.name for found in tmp_path.iterdir()}
            assert len(parts - {".out.npz.0123abcd.part", ".out.mine.part"}) == 2
            assert not parts & {".out.0123abcd.part", ".out.4567abcd.part"}
        assert path.exists()
    remove_leftovers(tmp_path)
    assert {found.name for found in tmp_path.iterdir()} == {"out", ".out.mine.part"}


@pytest.mark.parametrize("make", [whole_file, whole_folder])
def test_where_there_are_no_locks_files_are_whole_and_nothing_is_left_over(
    tmp_path, monkeypatch, make
):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    (tmp_path / ".out.0123abcd.part").write_text("perhaps another's")
    with make(tmp_path / "out"):
        pass
    assert {found.name for found in tmp_path.iterdir()} == {"out", ".out.0123abcd.part"}


def test_a_part_that_is_taken_for_left_over_before_it_is_locked_is_made_again(
    tmp_path, monkeypatch
):
    lock, calls = fcntl.flock, []

    def late(handle, how):
        calls.append(how)
        if len(calls) == 1:
            remove_leftovers(tmp_path)  # what another writer does just then
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with whole_file(tmp_path / "out") as file:
        file.write(b"whole")
    assert len(calls) == 3
    assert (tmp_path / "out").read_bytes() == b"whole"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_place_that_cannot_be_written_is_found_out_beforehand(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="cannot be written"):
        check_writable(tmp_path / "file" / "out.npz")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        check_writable(tmp_path)
    check_writable(tmp_path / "new" / "out.npz")
    assert not list((tmp_path / "new").iterdir())


def test_json_is_what_others_read():
    content = {"b": float("nan"), "a": [1.5, float("inf"), {"c": (-float("inf"), "NaN", None, 2)}]}
    text = as_json(content)
    assert text == '{"b": null, "a": [1.5, null, {"c": [null, "NaN", null, 2]}]}'
    assert json.loads(text, parse_constant=pytest.fail)


def test_npz_npy_and_libsvm_hold_the_same_embedding(store, tmp_path):
    expected = embed(model(), store)
    npz = arrays(write(store, tmp_path / "out_%e.npz"))
    assert (tmp_path / "out_final.npz").exists()
    np.testing.assert_array_equal(npz["embedding"], expected)
    np.testing.assert_array_equal(npz["label"], store.labels)
    np.testing.assert_array_equal(npz["present"], store.present)
    np.testing.assert_array_equal(arrays(write(store, tmp_path / "out.npy")), expected)
    text = write(store, tmp_path / "out.txt").read_text()
    assert [line.split()[0] for line in text.splitlines()] == store.labels.tolist()
    bare = PairStore(store.first, store.second, store.present)
    path = write(bare, tmp_path / "bare.txt", zero_based=True)
    found, labels = load_svmlight_file(str(path), n_features=4, zero_based=True)
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-6)
    assert not labels.any()


def test_completed_rows_are_two_arrays_in_npz_and_one_matrix_elsewhere(store, tmp_path):
    npz = arrays(write(store, tmp_path / "out.npz", kind=OutputKind.crossmodal))
    whole = arrays(write(store, tmp_path / "out.npy", kind=OutputKind.crossmodal))
    np.testing.assert_array_equal(np.hstack([npz["first"], npz["second"]]), whole)
    np.testing.assert_array_equal(npz["first"][1:], store.first[1:])
    assert set(npz) == {"first", "second", "label", "present"}


def test_equal_results_are_equal_files(store, tmp_path):
    for name in ("a.npz", "a.npy", "a.txt"):
        assert (
            write(store, tmp_path / name).read_bytes()
            == write(store, tmp_path / f"again_{name}").read_bytes()
        )


@pytest.mark.parametrize("name", ["out.npz", "out.npy", "out.txt"])
def test_a_full_disk_leaves_no_output(store, tmp_path, monkeypatch, name):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=f"No space left on device: .*{name}"):
        write(store, tmp_path / name, kind=OutputKind.crossmodal)
    assert not list(tmp_path.iterdir())


def test_a_bundle_comes_back_as_the_same_model(store, tmp_path):
    own = model()
    fit_embedding(own, store, store.complete)
    own.first_scaler.shift.fill_(0.3)
    save_bundle(tmp_path / "model.pt", own.with_missing(MissingStrategy.duplicate))
    found = load_bundle(tmp_path / "model.pt")
    assert found.missing is MissingStrategy.duplicate
    again = embed(own.with_missing(MissingStrategy.duplicate), store)
    np.testing.assert_array_equal(embed(found, store), again)
    check_settings(tmp_path, found, own)
    with pytest.raises(ValueError, match=r"set model\.self_paths=false"):
        check_settings(tmp_path, found, model(self_paths=True))


class Malicious:
    def __reduce__(self):
        return os.system, ("touch malicious",)


def test_what_is_no_bundle_is_refused_in_one_line_and_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = tmp_path / "good.pt"
    save_bundle(good, model())
    whole = good.read_bytes()
    content = torch.load(good, weights_only=True)
    bad = {
        "empty": b"",
        "text": b"hello\n" * 100,
        "cut": whole[: len(whole) // 2],
        "pickle": pickle.dumps(Malicious()),
        # zip64's locator, as of an archive of several disks (found by fuzz/archives.py)
        "disks": whole[:-22] + b"PK\x06\x07" + b"\xff" * 16 + whole[-22:],
    }
    paths = []
    for name, data in bad.items():
        paths.append(tmp_path / f"{name}.pt")
        paths[-1].write_bytes(data)
    for name, change in {
        "malicious": {"hyper_parameters": Malicious()},
        "keys": {"hyper_parameters": {}},
        "value": {"hyper_parameters": content["hyper_parameters"] | {"scaling": "odd"}},
        "list": {"hyper_parameters": [1]},
        "tensor": {"state_dict": torch.ones(2)},
    }.items():
        paths.append(tmp_path / f"{name}.pt")
        torch.save(content | change, paths[-1])
    torch.save([1, 2], tmp_path / "array.pt")
    np.savez(tmp_path / "arrays.npz", x=np.ones(2))
    paths += [tmp_path / "array.pt", tmp_path / "arrays.npz"]
    for path in paths:
        with pytest.raises(ValueError, match=path.name) as caught:
            load_bundle(path)
        assert "\n" not in str(caught.value), path
    assert not (tmp_path / "malicious").exists()
    with pytest.raises(FileNotFoundError, match="no such model"):
        load_bundle(tmp_path)


def test_a_bundle_with_other_shapes_says_what_was_expected(tmp_path):
    path = tmp_path / "model.pt"
    save_bundle(path, model())
    content = torch.load(path, weights_only=True)
    content["state_dict"]["model.network.first_to_second.encoder.weight"] = torch.ones(6, 5)
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"encoder\.weight should be \(6, 3\).* is \(6, 5\)"):
        load_bundle(path)


def test_model_files_of_other_sizes_or_kinds_are_refused(tmp_path):
    network = model().network
    path = tmp_path / "model.npz"
    write_model(path, network)
    read = read_model(path)
    for own, other in zip(network.parameters(), read.parameters(), strict=True):
        assert torch.equal(own, other)
    for more, found in (({"hdn": 5}, "hdn 6"), ({"rep": 6}, "rep 4"), ({"tied": False}, "tied")):
        config = NetworkConfig(**{"hdn": 6, "rep": 4, **more})
        with pytest.raises(ValueError, match=found):
            read_model(path, config)
    good = arrays(path)
    for name, change in {
        "few": {"arr_13": None},
        "odd": {"arr_3": np.ones(9, np.float32)},
        "flat": {"arr_0": np.ones(3, np.float32)},
        "nan": {"arr_1": np.full(6, np.nan, np.float32)},
        "text": {"arr_1": np.array(["x"] * 6)},
    }.items():
        changed = {k: v for k, v in (good | change).items() if v is not None}
        np.savez(tmp_path / f"{name}.npz", **changed)
        with pytest.raises(ValueError, match=name):
            read_model(tmp_path / f"{name}.npz")
    with pytest.raises(FileNotFoundError):
        read_model(tmp_path / "none.npz")
    with pytest.raises(ValueError, match="self paths"):
        write_model(path, model(self_paths=True).network)


def test_a_name_that_leaves_no_room_for_the_temporary_one_is_refused_beforehand(tmp_path):
    check_writable(tmp_path / ("x" * 236 + ".npz"))
    with pytest.raises(OSError, match="too long, with that of the temporary file"):
        check_writable(tmp_path / ("x" * 237 + ".npz"))
    assert not list(tmp_path.iterdir())


def test_a_new_folder_is_nobody_elses_however_many_ask_at_once(tmp_path):
    wanted = tmp_path / "runs" / "12-00-00"
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: new_folder(wanted), range(40)))
    assert len(set(found)) == 40
    assert {path.name for path in found} == {"12-00-00"} | {f"12-00-00-{n}" for n in range(2, 41)}
    (tmp_path / "in the way").touch()
    with pytest.raises(OSError, match="in the way"):
        new_folder(tmp_path / "in the way" / "12-00-00")


def test_a_folder_is_held_by_one_and_the_next_is_told_by_whom(tmp_path):
    folder = tmp_path / "run"
    with held(folder):
        told = rf"at work in this folder \(process {os.getpid()} on "
        with pytest.raises(UserError, match=told), held(folder):
            raise AssertionError
    with held(folder):
        assert (folder / LOCK).exists()
    assert not list(folder.iterdir())
    (folder / LOCK).write_text("of a process that was killed")
    with held(folder):
        assert "killed" not in (folder / LOCK).read_text()


def test_where_there_are_no_locks_nobody_is_held_up(tmp_path, monkeypatch):
    def unknown(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unknown)
    with held(tmp_path), held(tmp_path):
        pass
