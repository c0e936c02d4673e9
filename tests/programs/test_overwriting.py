"""Nothing that is read, or that another run made, is written over; devices are written to."""

import os
import threading

import numpy as np
import pytest

from bidnn import BiDNN
from bidnn.model.saved import save_bundle
from bidnn.original.model_file import write_model
from tests.programs.running import TINY, refused, run, succeed
from tests.reading import arrays
from tests.test_files import model

pytestmark = pytest.mark.slow
TRAIN, EMBED, CONVERT = "scripts/train.py", "scripts/embed.py", "scripts/convert.py"
READ = "is what is read"


@pytest.fixture
def place(tmp_path):
    """Ten rows of 3 + 4, and a model of them."""
    generator = np.random.default_rng(0)
    first, second = (generator.normal(size=(10, n)).astype(np.float32) for n in (3, 4))
    np.savez(tmp_path / "rows.npz", first=first, second=second, label=np.arange(10) % 2)
    save_bundle(tmp_path / "model.pt", model())
    return tmp_path


def rows(place, name="rows.npz"):
    return ("data=npz", f"data.path={place / name}")


def test_an_output_of_an_interval_and_one_over_the_checkpoint_are_refused(place):
    kept = place / "rows_00002.npz"
    (place / "rows.npz").rename(kept)
    before = kept.read_bytes()
    own = (*rows(place, kept.name), *TINY, f"output.path={place}/rows_%e.npz")
    assert READ in refused(TRAIN, *own, "output.every_n_epochs=2", cwd=place)
    write_model(place / "start.npz", model().network)
    (place / "link.npz").symlink_to(place / "start.npz")
    weights = (place / "start.npz").read_bytes()
    start = (*rows(place, kept.name), *TINY, f"checkpoint={place}/start.npz")
    assert READ in refused(TRAIN, *start, f"output.path={place}/link.npz", cwd=place)
    (place / "model.txt").hardlink_to(place / "model.pt")
    embed = (*rows(place, kept.name), f"checkpoint={place}/model.pt")
    assert READ in refused(EMBED, *embed, f"output.path={place}/model.txt", cwd=place)
    assert (kept.read_bytes(), (place / "start.npz").read_bytes()) == (before, weights)
    assert not list(place.glob("runs/**/*.ckpt"))


def test_a_name_that_is_no_epochs_is_no_output(place):
    own = (*rows(place), *TINY, f"output.path={place}/row%e.npz", "output.every_n_epochs=2")
    succeed(TRAIN, *own, f"hydra.run.dir={place}/run", cwd=place)
    assert (place / "row00002.npz").exists()


def test_pythons_outputs_over_what_is_read_are_refused_before_it_is_read(place):
    text = place / "rows_00003.txt"
    text.write_text("no libsvm text")
    own = {"mod1size": 3, "mod2size": 4, "fname_in": str(text), "write_after": 3}
    for name in ("fname_out", "save_model"):
        with pytest.raises(ValueError, match=f"{name}=.*{READ}"):
            BiDNN(**own, **{name: f"{place}/rows_%e.txt"}).load_dataset()


@pytest.mark.parametrize("read", ["file", "documents", "names", "document_names", "qrels"])
def test_a_run_file_over_anything_that_is_read_is_refused(place, read):
    files = {name: place / f"{name}.txt" for name in ("names", "document_names", "qrels")}
    files |= {name: place / f"{name}.npy" for name in ("file", "documents")}
    for file in files.values():
        file.write_text("unread")
    run_file = place / "run.txt"
    run_file.hardlink_to(files[read])
    named = [f"--{name.replace('_', '-')}={file}" for name, file in files.items() if name != "file"]
    line = refused("scripts/evaluate.py", str(files["file"]), *named, f"--run={run_file}")
    assert READ in line
    assert str(files[read]) in line
    assert files[read].read_text() == "unread"


@pytest.mark.parametrize("program", [EMBED, CONVERT])
def test_a_sweep_whose_jobs_write_one_file_is_refused_after_the_first(place, program):
    (place / "link.npz").symlink_to(place / "out.npz")
    more = (f"checkpoint={place}/model.pt", "missing=translate") if program == EMBED else ()
    own = (*rows(place), *more, f"hydra.sweep.dir={place}/sweep", "-m")
    ended = run(program, *own, f"output.path={place}/out.npz,{place}/link.npz", cwd=place)
    assert ended.status == 1
    assert "job 0 of this sweep writes it too" in ended.err
    arrays(place / "out.npz")
    succeed(program, *own, f"output.path={place}/a.npz,{place}/b.npz", cwd=place)
    assert (place / "b.npz").exists()


def test_embedding_into_the_folder_of_a_training_keeps_its_record(place):
    folder = place / "run"
    succeed(TRAIN, *rows(place), *TINY, f"hydra.run.dir={folder}", cwd=place)
    record = (folder / "run.json").read_bytes()
    embed = (*rows(place), f"checkpoint={folder}", f"hydra.run.dir={folder}")
    assert "the folder of a training" in refused(EMBED, *embed, cwd=place)
    assert (folder / "run.json").read_bytes() == record
    beside = f"output.path={folder}/new.npz"
    succeed(EMBED, *rows(place), f"checkpoint={folder}", beside, f"hydra.run.dir={place}/other")


@pytest.mark.parametrize("kind", ["npz", "txt"])
def test_a_pipe_is_written_to_and_a_link_followed(place, kind):
    pipe, target, link = place / f"pipe.{kind}", place / "kept" / "out", place / f"link.{kind}"
    os.mkfifo(pipe)
    target.parent.mkdir()
    target.write_text("earlier")
    link.symlink_to(target)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    succeed(CONVERT, *rows(place), f"output.path={pipe}", cwd=place)
    reader.join(60)
    succeed(CONVERT, *rows(place), f"output.path={link}", cwd=place)
    succeed(CONVERT, *rows(place), f"output.path={place}/plain.{kind}", cwd=place)
    assert pipe.is_fifo()
    assert link.is_symlink()
    assert [path.name for path in target.parent.iterdir()] == ["out"]
    assert target.read_bytes() == (place / f"plain.{kind}").read_bytes()
    (place / f"piped.{kind}").write_bytes(read[0])
    if kind == "txt":
        assert read[0] == target.read_bytes()
    else:  # an archive that cannot be sought in has its sizes behind the members
        whole, piped = arrays(place / "plain.npz"), arrays(place / "piped.npz")
        assert {k: v.tolist() for k, v in whole.items()} == {
            k: v.tolist() for k, v in piped.items()
        }


def test_a_device_is_written_to(place):
    succeed(CONVERT, *rows(place), "output.path=/dev/null", cwd=place)
    line = refused(CONVERT, *rows(place), "output.path=/dev/full", cwd=place)
    assert "/dev/full" in line
    assert "No space left" in line
