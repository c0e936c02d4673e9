"""Whole programs, from files to files."""

import csv
import json
import re
import shlex

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from sklearn.datasets import dump_svmlight_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from bidnn import BiDNN, Config, load
from bidnn.data.formats.arrays import read_npz
from bidnn.evaluation.retrieval import mean_average_precision
from bidnn.model.inference import embed
from bidnn.model.saved import load_bundle
from bidnn.programs.methods import UNTRAINED
from bidnn.programs.quoting import typed_setting
from tests.programs.running import TINY, refused, run, succeed
from tests.reading import arrays

pytestmark = pytest.mark.slow
TRAIN, EMBED = "scripts/train.py", "scripts/embed.py"


@pytest.fixture
def features(tmp_path):
    """60 rows of 5 + 7; 10 without the first, 10 without the second modality."""
    generator = np.random.default_rng(0)
    hidden = generator.normal(size=(60, 3))
    first = np.tanh(hidden @ generator.normal(size=(3, 5))).astype(np.float32)
    second = np.tanh(hidden @ generator.normal(size=(3, 7))).astype(np.float32)
    label = np.array([f"class{i % 3}" for i in range(60)])
    first[:10], second[10:20] = np.nan, np.nan
    np.savez(tmp_path / "features.npz", first=first, second=second, label=label)
    np.save(tmp_path / "first.npy", first)
    np.save(tmp_path / "second.npy", second)
    rows = np.nan_to_num(np.hstack([first, second]))
    with (tmp_path / "features.txt").open("wb") as file:
        dump_svmlight_file(rows, np.arange(60), file, zero_based=False)
    return tmp_path


def npz(folder, *more):
    return ("data=npz", f"data.path={folder / 'features.npz'}", "data.batch_size=16", *TINY, *more)


def test_the_same_seed_writes_the_same_bytes_and_another_one_does_not(features):
    outputs = []
    for number, seed in enumerate((1, 1, 2)):
        path = features / f"out{number}.npz"
        succeed(TRAIN, *npz(features, f"seed={seed}", f"output.path={path}"), cwd=features)
        outputs.append(path.read_bytes())
    assert outputs[0] == outputs[1]
    assert outputs[0] != outputs[2]


def test_a_run_leaves_everything_in_its_folder_and_embeds_as_the_library_does(features):
    folder = features / "run"
    ended = succeed(
        TRAIN,
        *npz(
            features, "data.val_fraction=0.2", "output.every_n_epochs=1", f"hydra.run.dir={folder}"
        ),
    )
    names = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    assert {
        "config.yaml",
        "run.json",
        "train.log",
        "metrics.json",
        "checkpoints/last.ckpt",
        "embedding_00001.npz",
        "embedding_00002.npz",
        "embedding_final.npz",
        "tensorboard",
    } <= names
    record = json.loads((folder / "run.json").read_text())
    settings = OmegaConf.load(folder / "config.yaml")
    assert (settings.seed, settings.model.hdn) == (0, 16)
    assert "settings" not in record
    assert not (folder / ".hydra").exists()
    assert record["data"]["rows"] == 60
    assert record["data"]["complete"] == 40
    assert len(record["data"]["fingerprint"]) == 64
    assert record["versions"]["torch"] == torch.__version__
    assert f"hydra.run.dir={folder}" in record["arguments"]
    assert str(folder / "embedding_final.npz") in ended.out + ended.err
    written = arrays(folder / "embedding_final.npz")
    store = read_npz(features / "features.npz", ignore_zeroes=True)
    np.testing.assert_array_equal(written["embedding"], embed(load_bundle(folder), store))
    np.testing.assert_array_equal(written["present"], store.present)
    np.testing.assert_array_equal(written["label"], store.labels)
    figures = json.loads((folder / "metrics.json").read_text())
    (named,) = (folder / "tensorboard").iterdir()
    assert named.name.startswith("data=npz,path=features.npz,")
    events = EventAccumulator(str(named)).Reload()
    for name in ("loss", "first_to_second", "second_to_first"):
        for stage in ("train", "val"):
            values = [event.value for event in events.Scalars(f"{stage}/{name}")]
            assert values[1] == pytest.approx(figures[f"{stage}/{name}"], rel=1e-6)
            assert len(values) >= 2
    rates = events.Scalars("train/learning_rate")
    assert [rate.value for rate in rates] == pytest.approx([0.1, 0.1])


def test_embed_uses_the_models_scaling_sizes_and_strategy(features):
    folder = features / "run"
    succeed(TRAIN, *npz(features, "scaling=standard", f"hydra.run.dir={folder}"))
    out = features / "embedded.txt"
    path = features / "features.txt"
    settings = ("data=libsvm", f"data.path={path}", f"output.path={out}", f"checkpoint={folder}")
    succeed(EMBED, *settings, cwd=features)
    expected = arrays(folder / "embedding_final.npz")["embedding"]
    lines = out.read_text().splitlines()
    assert [line.split()[0] for line in lines] == [str(i) for i in range(60)]
    found = np.zeros_like(expected)
    for row, line in enumerate(lines):
        for index, value in re.findall(r" (\d+):(\S+)", line):
            found[row, int(index) - 1] = float(value)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_crossmodal_output_keeps_what_is_there_and_fills_in_what_is_not(features):
    out = features / "filled.npz"
    succeed(TRAIN, *npz(features, "output.kind=crossmodal", f"output.path={out}"), cwd=features)
    written, given = arrays(out), arrays(features / "features.npz")
    np.testing.assert_array_equal(written["first"][10:], given["first"][10:])
    np.testing.assert_array_equal(written["second"][20:], given["second"][20:])
    assert np.isfinite(written["first"]).all()
    assert written["first"][:10].std() > 0


def test_no_epochs_and_a_checkpoint_only_predict(features):
    folder, out = features / "run", features / "again.npz"
    settings = ("embedding=even", "scaling=standard")
    succeed(TRAIN, *npz(features, *settings, f"hydra.run.dir={folder}"))
    whole = arrays(features / "features.npz")
    np.savez(features / "features.npz", **{name: rows[5:25] for name, rows in whole.items()})
    more = ("trainer.max_epochs=0", f"checkpoint={folder}", f"output.path={out}")
    succeed(TRAIN, *npz(features, *settings, *more), cwd=features)
    expected = arrays(folder / "embedding_final.npz")["embedding"][5:25]
    np.testing.assert_allclose(arrays(out)["embedding"], expected, atol=1e-6)


def test_a_resumed_run_ends_where_one_run_would_have(features):
    whole, parts = features / "whole", features / "parts"
    succeed(TRAIN, *npz(features, "trainer.max_epochs=4", f"hydra.run.dir={whole}"))
    succeed(TRAIN, *npz(features, "trainer.max_epochs=2", f"hydra.run.dir={parts}"))
    succeed(TRAIN, *npz(features, "trainer.max_epochs=4", "resume=true", f"hydra.run.dir={parts}"))
    name = "embedding_final.npz"
    assert (whole / name).read_bytes() == (parts / name).read_bytes()


def test_npy_pairs_are_read_and_written(features):
    out = features / "out.npy"
    succeed(
        TRAIN,
        "data=npy",
        f"data.first={features / 'first.npy'}",
        f"data.second={features / 'second.npy'}",
        f"output.path={out}",
        *TINY,
        cwd=features,
    )
    assert arrays(out).shape == (60, 8)


def test_the_command_runs_after_each_writing_and_its_figures_steer(features):
    folder = features / "run"
    script = features / "judge.sh"
    script.write_text('echo seen $1 $2; echo \'{"score": 0.5, "word": "x"}\'')
    ended = succeed(
        TRAIN,
        *npz(
            features,
            "output.every_n_epochs=1",
            f"output.command='sh {script} {{output}} %e'",
            "callbacks=best",
            "callbacks.best.monitor=score",
            "objective=score",
            f"hydra.run.dir={folder}",
        ),
    )
    text = ended.out + ended.err
    for tag in ("00001", "00002", "final"):
        assert f"seen {folder}/embedding_{tag}.npz {tag}" in text
    assert json.loads((folder / "metrics.json").read_text())["score"] == 0.5
    assert (folder / "checkpoints" / "best.ckpt").exists()


def test_mistakes_are_answered_in_one_line(features):
    missing = features / "nothing.npz"
    file = features / "features.npz"
    assert "hdm" in refused(TRAIN, "model.hdm=3", cwd=features)
    assert "hdm" in refused(TRAIN, "+model.hdm=3", cwd=features)
    assert "use 8" in refused(TRAIN, "model.rep=7", cwd=features)
    assert "tan" in refused(TRAIN, "activation=tan", cwd=features)
    # found by fuzz/config.py: Hydra itself fails over it
    assert "cannot be put together" in refused(TRAIN, "loss=[1,2]", cwd=features)
    line = refused(TRAIN, "data=npz", f"data.path={missing}", cwd=features)
    assert f"{missing}: no such file" in line
    line = refused(TRAIN, *npz(features, f"output.path={file}/x.npz"), cwd=features)
    assert "cannot be written" in line
    assert "data.path" in refused(TRAIN, "data=npz", cwd=features)
    line = refused(EMBED, "data=digits", f"checkpoint={file}", cwd=features)
    assert str(file) in line
    line = refused(TRAIN, *npz(features, "resume=true"), cwd=features)
    assert "no checkpoint" in line


def test_fewer_rows_than_a_batch_are_one_smaller_batch_with_a_warning(features):
    ended = succeed(TRAIN, *npz(features, "data.batch_size=128"), cwd=features)
    assert "training on one batch of 38" in ended.out + ended.err


def test_evaluate_ends_with_figures_in_json(features):
    folder = features / "run"
    succeed(TRAIN, *npz(features, f"hydra.run.dir={folder}"))
    ended = succeed("scripts/evaluate.py", folder / "embedding_final.npz")
    figures = json.loads(ended.out.splitlines()[-1])
    assert 0 < figures["map"] <= 1
    assert figures["queries"] == 60


def test_compare_writes_a_table_and_a_picture(features):
    folder = features / "compare"
    succeed(
        "scripts/compare.py",
        "data=npz",
        f"data.path={features / 'features.npz'}",
        "common=['model.hdn=8','model.rep=4','trainer.max_epochs=1']",
        "~methods.incomplete",
        "rates=[0.0,0.5]",
        "seeds=[0]",
        f"hydra.run.dir={folder}",
    )
    table = (folder / "table.md").read_text().splitlines()
    assert len(table) == 2 + 2 * 14
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    with (folder / "table.csv").open() as file:
        found = {(row["method"], float(row["rate"])): row for row in csv.DictReader(file)}
    store = read_npz(features / "features.npz", ignore_zeroes=True)
    masked = store.drop(0.5, 0)
    for name, rate, vectors in (
        ("zeros", 0.0, UNTRAINED["zeros"](store)),
        ("cca", 0.5, UNTRAINED["cca"](masked)),
        ("paper", 0.5, embed(load_bundle(folder / "runs" / "paper-0.5-0"), masked)),
        ("translate", 0.0, embed(load_bundle(folder / "runs" / "translate-0-0"), store)),
    ):
        expected = mean_average_precision(vectors, store.labels)
        assert float(found[name, rate]["map mean"]) == pytest.approx(expected)


def test_the_program_the_class_and_the_originals_verbs_train_the_same_model(features):
    folder = features / "run"
    settings = ("experiment=paper", "seed=3", f"hydra.run.dir={folder}")
    succeed(TRAIN, *npz(features, *settings))
    expected = arrays(folder / "embedding_final.npz")["embedding"]
    given = arrays(features / "features.npz")
    first, second = given["first"], given["second"]
    same = {"hdn": 16, "rep": 8, "epochs": 2, "batch_size": 16, "seed": 3, "verbosity": 0}
    found = BiDNN(recipe="paper", **same).fit(first, second).transform(first, second)
    np.testing.assert_array_equal(found, expected)
    rows = np.nan_to_num(np.hstack([first, second]))
    verbs = BiDNN(Config(mod1size=5, mod2size=7, **same)).load_dataset(rows).train()
    np.testing.assert_array_equal(verbs.predict(), expected)


def test_a_recipe_and_any_setting_can_be_given_from_python(features):
    folder = features / "run"
    settings = ("experiment=incomplete", "loss.alignment=0.1", "trainer.max_steps=20")
    succeed(TRAIN, *npz(features, *settings, "trainer.max_epochs=-1", f"hydra.run.dir={folder}"))
    expected = arrays(folder / "embedding_final.npz")["embedding"]
    given = arrays(features / "features.npz")
    net = BiDNN(
        hdn=16,
        rep=8,
        batch_size=16,
        verbosity=0,
        loss__alignment=0.1,
        **{"trainer.max_steps": 20},
        run_dir=str(features / "mine"),
    )
    found = net.fit(given["first"], given["second"]).transform(given["first"], given["second"])
    np.testing.assert_array_equal(found, expected)
    assert net.metrics["train/alignment"] > 0
    assert (features / "mine" / "checkpoints" / "last.ckpt").exists()
    again = load(features / "mine")
    np.testing.assert_array_equal(again.transform(given["first"], given["second"]), expected)


def test_the_original_command_line_runs_its_two_examples(tmp_path):
    generator = np.random.default_rng(0)
    rows = generator.uniform(0.1, 0.9, (12, 4196)).round(3)
    rows[0, :100], rows[1, 100:] = 0, 0
    with (tmp_path / "dataset.txt").open("wb") as file:
        dump_svmlight_file(rows, np.arange(12), file, zero_based=False)
    (tmp_path / "evaluate.py").write_text("#!/bin/sh\necho evaluated $1\n")
    (tmp_path / "evaluate.py").chmod(0o755)
    example = "-n -e 1 dataset.txt output.txt 100 4096 2048 2048"
    succeed("-m bidnn", *example.split(), cwd=tmp_path)
    lines = (tmp_path / "output.txt").read_text().splitlines()
    assert len(lines) == 12
    values = [float(part.split(":")[1]) for part in lines[3].split()[1:]]
    assert np.linalg.norm(values) == pytest.approx(1, abs=1e-4)
    example = "dataset.txt output_%e.txt 100 4096 2048 2048 -n -e 2 -w 1 -s model_%e.npz -x"
    ended = succeed("-m bidnn", *example.split(), "./evaluate.py output_%e.txt", cwd=tmp_path)
    for tag in ("00001", "00002", "final"):
        assert (tmp_path / f"output_{tag}.txt").exists()
        assert len(arrays(tmp_path / f"model_{tag}.npz")) == 14
        assert f"evaluated output_{tag}.txt" in ended.out + ended.err


def test_the_original_command_line_refuses_in_one_line(tmp_path):
    (tmp_path / "rows.txt").write_text("1 1:0.5 3:0.5\n1 1:1 9:2\n")
    line = refused("-m bidnn", *"rows.txt out.txt 2 2 4 4".split(), cwd=tmp_path)
    assert "rows.txt, line 2" in line
    assert "9" in line
    assert not (tmp_path / "out.txt").exists()
    line = refused("-m bidnn", *["none.txt", "out.txt", "2", "2", "4", "4"], cwd=tmp_path)
    assert "none.txt" in line
    (tmp_path / "rows.txt").write_text("1 1:0.5 3:0.5\n")
    line = refused("-m bidnn", *["rows.txt", "out.txt", "2", "2", "4", "3"], cwd=tmp_path)
    assert "even" in line
    assert run("-m bidnn", "rows.txt", cwd=tmp_path).status == 2


def test_two_processes_train_as_one_with_the_same_batches(features):
    folders = {"one": (), "two": ("trainer=ddp", "trainer.accelerator=cpu")}
    for name, settings in folders.items():
        more = ("model.dropout=0", "data.val_fraction=0.2", f"hydra.run.dir={features / name}")
        succeed(TRAIN, *npz(features, *settings, *more), fresh=bool(settings))
    one, two = (json.loads((features / n / "metrics.json").read_text()) for n in folders)
    assert two == pytest.approx(one, rel=1e-5)
    vectors = [arrays(features / n / "embedding_final.npz")["embedding"] for n in folders]
    np.testing.assert_allclose(*vectors, atol=1e-5)


def test_a_conversion_says_how_to_train_on_it(features):
    rows = ("data=npz", f"data.path={features / 'features.npz'}")
    trained = ("data.batch_size=16", *TINY, "output.path=out.npy")
    succeed(TRAIN, *rows, *trained, cwd=features)
    before = arrays(features / "out.npy")
    (features / "my, own's").mkdir()
    for name in ("rows.npz", "rows.npy", "rows.txt", "my, own's/a=1 é.npz"):
        (output,) = shlex.split(typed_setting("output.path", str(features / name)))
        said = succeed("scripts/convert.py", *rows, output).err
        command = re.search(r"to train on it: bidnn train (.*)", said)
        (features / "out.npy").unlink()
        succeed(TRAIN, *shlex.split(command[1]), *trained, cwd=features)
        np.testing.assert_array_equal(arrays(features / "out.npy"), before)


def test_an_output_over_what_is_read_is_refused_before_anything_is_read(features):
    given = features / "features.npz"
    before = given.read_bytes()
    link = features / "link.npz"
    link.symlink_to(given)
    for program, more in ((TRAIN, ()), ("scripts/convert.py", None)):
        settings = npz(features) if more is not None else npz(features)[:2]
        for path in (given, link):
            line = refused(program, *settings, f"output.path={path}", cwd=features)
            assert "is what is read" in line
    names = (features / "first.npy", features / "second.npy")
    renamed = [path.rename(features / f"x_{path.name}") for path in names]
    both = ("data=npy", f"data.first={renamed[0]}", f"data.second={renamed[1]}")
    line = refused("scripts/convert.py", *both, f"output.path={features / 'x.npy'}", cwd=features)
    assert "is what is read" in line
    text = features / "features.txt"
    kept = text.read_bytes()
    example = (text, text, "5", "7", "4", "4", "-e", "1")
    assert "is what is read" in refused("-m bidnn", *example, cwd=features)
    assert (given.read_bytes(), text.read_bytes()) == (before, kept)


def test_a_model_can_embed_rows_none_of_which_is_complete(features):
    folder, out = features / "run", features / "again.npz"
    succeed(TRAIN, *npz(features, f"hydra.run.dir={folder}"))
    whole = arrays(features / "features.npz")
    np.savez(features / "features.npz", **{name: rows[:20] for name, rows in whole.items()})
    more = ("trainer.max_epochs=0", f"checkpoint={folder}", f"output.path={out}")
    succeed(TRAIN, *npz(features, *more), cwd=features)
    expected = arrays(folder / "embedding_final.npz")["embedding"][:20]
    np.testing.assert_allclose(arrays(out)["embedding"], expected, atol=1e-6)
