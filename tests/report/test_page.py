"""What a run's page says, against computations of its own, on one training of mixed rows."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from bidnn import BiDNN
from bidnn.data.sources import NpzSource
from bidnn.data.store import PairStore
from bidnn.model.saved import load_bundle
from bidnn.report.folder import Run
from bidnn.report.page import page
from bidnn.report.run import facts
from bidnn.training.history import due
from tests.programs.running import TINY, refused, run, succeed
from tests.report.reading import read

TRAIN, REPORT = "scripts/train.py", "scripts/report.py"
EVIL = '</script><img src=x onerror="alert(1)">&amp;<!--'
ROWS, EPOCHS = 160, 12


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    generator = np.random.default_rng(0)
    hidden = generator.normal(size=(ROWS, 3))
    first = np.tanh(hidden @ generator.normal(size=(3, 6))).astype("f4") * 0.9
    second = np.tanh(hidden @ generator.normal(size=(3, 5))).astype("f4") * 0.9
    first[:25], second[25:50], first[50], second[50] = (np.nan,) * 4
    ids = np.array([EVIL, "x" * 200, *(f"video {n}" for n in range(2, ROWS))])
    np.savez(folder / "rows.npz", first=first, second=second, id=ids, label=np.arange(ROWS) % 4)
    told = (*TINY[:2], f"trainer.max_epochs={EPOCHS}", "callbacks.progress=null", "data=npz")
    rows = ("data.path=rows.npz", "data.val_fraction=0.3", "data.batch_size=16")
    for name in ("run", "silent"):
        own = ("report=false",) if name == "silent" else ()
        succeed(TRAIN, *told, *rows, f"hydra.run.dir={name}", *own, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def found(place):
    return read(place / "run" / "report.html")


@pytest.fixture(scope="module")
def output(place):
    with np.load(place / "run" / "embedding_final.npz") as file:
        vectors = file["embedding"].astype("f8")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths == 0, 1, lengths)


def test_a_report_changes_nothing_else_and_is_left_out_if_told(place):
    names = ("embedding_final.npz", "metrics.json")
    for name in names:
        assert (place / "run" / name).read_bytes() == (place / "silent" / name).read_bytes()
    assert not (place / "silent" / "report.html").exists()
    silent = json.loads((place / "silent" / "history.json").read_text())["epochs"]
    told = json.loads((place / "run" / "history.json").read_text())["epochs"]
    assert silent == [{k: v for k, v in entry.items() if k != "agreement"} for entry in told]


def test_ids_are_data_whatever_they_hold_and_the_page_asks_for_nothing(place, found):
    text = (place / "run" / "report.html").read_text()
    assert EVIL not in text
    assert text.count("</script>") == 2
    assert set(re.findall(r"https?://[\w./]+", text)) == {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in text
    first = found["map"]["ids"][0]
    assert first == EVIL
    assert found["map"]["ids"][1] == "x" * 79 + "…"


def test_rows_are_counted_and_told_apart(found):
    assert found["rows"]["counts"] == {
        "complete": 109,
        "first only": 25,
        "second only": 25,
        "without any": 1,
    }
    assert (found["rows"]["all"], found["rows"]["held"]) == (ROWS, 33)
    assert found["map"]["kind"][:50] == [2] * 25 + [1] * 25
    assert set(found["map"]["kind"][50:]) == {0}
    assert found["map"]["numbers"] == [n for n in range(ROWS) if n != 50]
    labels = [found["map"]["labels"][code] for code in found["map"]["label"]]
    assert labels == [str(n % 4) for n in found["map"]["numbers"]]
    assert "1 row has neither modality: its vector is zero" in found["warnings"][-1]["text"]


def test_the_map_is_of_principal_components(found, output):
    units = output[found["map"]["numbers"]]
    centred = units - units.mean(axis=0)
    _, values, right = np.linalg.svd(centred, full_matrices=False)
    shares = values[:2] ** 2 / (values**2).sum()
    drawn = found["map"]["projections"]["PCA"]
    np.testing.assert_allclose(drawn["shares"], shares, rtol=1e-4)
    right = right[:2] * np.sign([row[np.abs(row).argmax()] for row in right[:2]])[:, None]
    places = centred @ right.T
    middle = (places.max(axis=0) + places.min(axis=0)) / 2
    expected = ((places - middle) / np.ptp(places, axis=0).max() + 0.5) * 10000
    np.testing.assert_allclose(np.transpose([drawn["x"], drawn["y"]]), expected, atol=3)


def test_the_networks_errors_are_those_that_the_training_measured(found):
    told = found["translation"]
    assert (told["held_out"], told["asked"], told["known"]) == (True, 33, 76)
    for name, errors in told["errors"].items():
        explained = found["metrics"][f"explained/{name}"]
        assert errors["network"] == pytest.approx(1 - explained, rel=1e-4)
        assert set(errors) == {"network", "mean", "nearest", "nearest10", "ridge"}
        assert errors["ridge"] < errors["mean"]


def test_nearest_rows_are_nearest(found, output):
    near = found["near"]
    assert near["of"] == ROWS - 1
    numbers = {
        name: n for n, name in zip(found["map"]["numbers"], found["map"]["ids"], strict=True)
    }
    assert sorted(example["kind"] for example in near["examples"]) == [0, 0, 1, 1, 2, 2]
    for example in near["examples"]:
        row = numbers[example["id"]]
        cosines = output @ output[row]
        cosines[[row, 50]] = -2
        best = np.sort(cosines)[::-1][:5]
        np.testing.assert_allclose([n["cosine"] for n in example["near"]], best, atol=2e-4)
        for other in example["near"]:
            assert cosines[numbers[other["id"]]] == pytest.approx(other["cosine"], abs=2e-4)
            assert other["label"] == str(numbers[other["id"]] % 4)
    cosines = output @ output.T - 3 * np.eye(ROWS)
    there = np.array(found["map"]["numbers"])
    top = there[np.argsort(-cosines[there][:, there], axis=1)[:, :10]]
    assert near["same"] == pytest.approx((top % 4 == there[:, None] % 4).mean(), abs=2e-3)
    sizes = np.bincount(there % 4)
    chance = (sizes * (sizes - 1)).sum() / (ROWS - 1) / (ROWS - 2)
    assert near["chance"] == pytest.approx(chance, rel=1e-4)


def test_losses_and_agreement_are_there_over_time(place, found):
    curves = found["curves"]
    for name in ("train/loss", "val/loss", "train/first_to_second"):
        assert curves[name][0] == list(range(1, EPOCHS + 1))
        assert curves[name][1][-1] == pytest.approx(found["metrics"][name], rel=1e-5)
    assert curves["train/loss"][1][-1] < curves["train/loss"][1][0]
    assert curves["agreement"][0] == [n for n in range(1, EPOCHS + 1) if due(n)]
    # measured before the last checkpoint, of the same rows and weights as in the end
    assert curves["agreement"][1][-1] == pytest.approx(found["metrics"]["agreement"], abs=1e-5)


def test_kinds_of_rows_are_compared_as_they_are_where_there_are_enough(found):
    told = found["comparable"]
    assert not told["hidden"]
    assert list(told["shares"]) == ["complete", "first-only", "second-only"]
    for shares in told["shares"].values():
        assert 0.9 < np.mean(list(shares.values())) < 1.1  # of what there is, as much is found
    assert set(told["cosines"]) == {
        *("complete–complete", "complete–incomplete", "incomplete–incomplete"),
    }


def test_the_command_is_that_which_repeats_the_run(place, found):
    command = found["run"]["command"]
    assert command.startswith("python ")
    assert command.endswith("data=npz data.path=rows.npz data.val_fraction=0.3 data.batch_size=16")
    assert "hydra.run.dir" not in command
    assert found["run"]["began_in"] == str(place)
    assert found["settings"]["model.rep"] == "8"


def test_the_program_makes_the_same_page_again(place, found):
    page_file = place / "run" / "report.html"
    page_file.unlink()
    succeed(REPORT, "run", cwd=place)
    again = read(page_file)
    again["map"]["projections"].pop("UMAP", None)
    assert again == found


def test_rows_that_are_gone_are_asked_for_and_may_be_named(place, tmp_path):
    line = refused(REPORT, place / "run", cwd=tmp_path)
    assert "rows.npz" in line
    assert f"({place})" in line
    assert "data.path=" in line
    own = ("data=npz", f"data.path={place / 'rows.npz'}", "output.path=here.html", "umap=false")
    succeed(REPORT, place / "run", *own, cwd=tmp_path)
    assert read(tmp_path / "here.html")["rows"]["all"] == ROWS
    assert "neither a run's folder" in refused(REPORT, place / "rows.npz", cwd=tmp_path)
    assert "name a run's folder" in refused(REPORT, cwd=tmp_path)


def test_a_report_that_fails_loses_no_run_and_a_finished_run_keeps_its_page(place):
    told = (*TINY, "report=true", "data=npz", "data.path=rows.npz", "hydra.run.dir=blocked")
    (place / "blocked" / "report.html").mkdir(parents=True)
    ended = run(TRAIN, *told, cwd=place)
    assert ended.status == 0
    assert "no report (" in ended.err
    assert (place / "blocked" / "metrics.json").exists()
    (place / "blocked" / "report.html").rmdir()
    ended = run(TRAIN, *told, "resume=true", cwd=place)
    assert "nothing is changed" in ended.err
    made = (place / "blocked" / "report.html").stat()  # which was not there, as after SIGKILL
    ended = run(TRAIN, *told, "resume=true", cwd=place)
    assert "nothing is changed" in ended.err
    assert (place / "blocked" / "report.html").stat().st_mtime_ns == made.st_mtime_ns


def without(store, column):
    present = store.present.copy()
    present[:, column] = False
    return PairStore(store.first, store.second, present, name="rows")


def test_rows_without_names_that_all_miss_a_modality_have_a_page_too(place):
    source = NpzSource(path=str(place / "rows.npz"))
    model, read_run = load_bundle(place / "run"), Run.read(place / "run")
    told = facts(read_run, model, source, without(source.open(None), 1))
    assert told["translation"] is None
    assert told["comparable"] is None
    assert told["rows"]["counts"]["complete"] == 0
    assert told["map"]["ids"] is None
    assert set(told["map"]["kind"]) == {1}
    assert "same" not in told["near"]
    assert told["near"]["examples"][0]["id"].startswith("row ")
    assert '"labels": null' in page(told)


def test_few_rows_have_a_page_without_what_they_cannot_say(place):
    model, read_run = load_bundle(place / "run"), Run.read(place / "run")
    source = NpzSource(path=str(place / "rows.npz"))
    few = source.open(None).load(np.array([60, 61]))
    told = facts(read_run, model, source, few)
    assert told["map"] is None
    assert told["near"] is None


def test_modalities_are_hidden_where_no_row_misses_one(place):
    source = NpzSource(path=str(place / "rows.npz"))
    store = source.open(None)
    whole = store.load(store.complete)
    told = facts(Run.read(place / "run"), load_bundle(place / "run"), source, whole)
    assert told["comparable"]["hidden"]
    assert list(told["comparable"]["shares"]) == ["complete", "first-only", "second-only"]


def test_python_gets_a_page_with_its_folder_and_its_own_words(tmp_path):
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(2, 60, 5)).astype("f4")
    settings = {"data__val_fraction": 0.0, "run_dir": str(tmp_path / "run")}
    BiDNN(hdn=8, rep=4, epochs=2, verbosity=0, recipe="paper", **settings).fit(first, second)
    told = read(tmp_path / "run" / "report.html")
    fixes = [entry["fix"] for entry in told["warnings"]]
    assert 'data__val_fraction="0.05"' in fixes


def test_the_rows_that_python_validates_on_are_those_that_are_translated(tmp_path):
    first, second = np.random.default_rng(0).normal(size=(2, 90, 5)).astype("f4")
    net = BiDNN(hdn=8, rep=4, epochs=2, verbosity=0, recipe="paper", run_dir=str(tmp_path / "run"))
    net.fit(first[:60], second[:60], validation=(first[60:], second[60:]))
    told = read(tmp_path / "run" / "report.html")
    assert (told["rows"]["all"], told["rows"]["held"]) == (60, 30)
    assert told["rows"]["held_name"] == "validation"
    assert (told["translation"]["known"], told["translation"]["asked"]) == (60, 30)
    for name, errors in told["translation"]["errors"].items():
        explained = net.metrics[f"explained/{name}"]
        assert errors["network"] == pytest.approx(1 - explained, rel=1e-4)


def test_a_run_that_is_not_at_its_end_shows_what_there_is_and_how_to_go_on(place):
    told = (*TINY[:2], f"trainer.max_epochs={EPOCHS}", "callbacks.progress=null", "data=npz")
    rows = ("data.path=rows.npz", "data.val_fraction=0.3", "data.batch_size=16")
    faulty = ("output.command=test -e fixed", "output.on_failure=stop")
    every = ("output.every_n_epochs=7", "hydra.run.dir=cut")
    ended = run(TRAIN, *told, *rows, *faulty, *every, cwd=place)
    assert ended.status != 0
    assert not (place / "cut" / "report.html").exists()
    succeed(REPORT, "cut", cwd=place)
    cut, whole = read(place / "cut" / "report.html"), read(place / "run" / "report.html")
    assert not cut["run"]["finished"]
    kept = cut["run"]["kept"]
    assert (kept["epochs"], cut["run"]["epochs"]) == (7, EPOCHS)
    assert cut["curves"].keys() == whole["curves"].keys() - {"hp_metric"}
    for name in ("train/loss", "val/loss", "agreement"):
        epochs, values = whole["curves"][name]
        of_these = [n for n, epoch in enumerate(epochs) if epoch <= 7]
        assert cut["curves"][name] == [[epochs[n] for n in of_these], [values[n] for n in of_these]]
        assert cut["metrics"][name] == values[of_these[-1]]
    (place / "fixed").touch()
    command = cut["run"]["resume"].replace("python ", f"{sys.executable} ", 1)
    subprocess.run(command, shell=True, check=True, capture_output=True, timeout=120)
    again = read(place / "cut" / "report.html")
    assert again["run"]["finished"]
    assert again["run"]["resume"] == ""
    assert again["curves"] == whole["curves"]
    for kept in (place / "cut" / "checkpoints").iterdir():
        kept.unlink()
    assert "no checkpoint yet" in refused(REPORT, "cut", cwd=place)
