"""Rows keep their names through the programs and the Python interface."""

import numpy as np
import pytest

from bidnn import BiDNN
from tests.programs.running import TINY, refused, succeed


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Rows with ids, and a model that was trained on them."""
    folder = tmp_path_factory.mktemp("ids")
    generator = np.random.default_rng(0)
    first = generator.uniform(-0.9, 0.9, (60, 4)).astype("f4")
    second = generator.uniform(-0.9, 0.9, (60, 5)).astype("f4")
    first[:5], second[5:9] = np.nan, np.nan
    ids = np.array([f"video {number}" for number in range(60)])
    np.savez(folder / "rows.npz", first=first, second=second, id=ids, label=np.arange(60) % 2)
    np.savez(folder / "text.npz", first=first[10:20], id=ids[10:20])
    np.save(folder / "text.npy", first[10:20])
    (folder / "text.ids").write_text("".join(f"{name}\n" for name in ids[10:20]))
    rest = ("data=npz", "data.path=rows.npz", *TINY, "hydra.run.dir=run")
    succeed("scripts/train.py", *rest, cwd=folder)
    return folder


def test_the_output_of_a_training_has_the_ids(place):
    rows, out = np.load(place / "rows.npz"), np.load(place / "run" / "embedding_final.npz")
    np.testing.assert_array_equal(out["id"], rows["id"])
    assert out["embedding"].shape == (60, 8)


@pytest.mark.parametrize("kind", ["embedding", "crossmodal"])
def test_one_modality_alone_is_embedded_as_rows_that_miss_the_other(place, kind):
    whole = np.load(place / "rows.npz")
    gone = np.full((10, 5), np.nan, np.float32)
    np.savez(place / "gone.npz", first=whole["first"][10:20], second=gone, id=whole["id"][10:20])
    sources = {
        "gone": ("data=npz", "data.path=gone.npz"),
        "alone": ("data=npz", "data.path=text.npz"),
        "npy": ("data=npy", "data.first=text.npy", "data.ids=text.ids"),
    }
    for name, source in sources.items():
        out = (f"output.path={kind}_{name}.npz", f"output.kind={kind}", "checkpoint=run")
        succeed("scripts/embed.py", *out, *source, f"hydra.run.dir=e_{kind}_{name}", cwd=place)
    expected = (place / f"{kind}_gone.npz").read_bytes()
    assert (place / f"{kind}_alone.npz").read_bytes() == expected
    assert (place / f"{kind}_npy.npz").read_bytes() == expected
    np.testing.assert_array_equal(np.load(place / f"{kind}_npy.npz")["id"], whole["id"][10:20])


def test_one_modality_alone_trains_nothing(place):
    found = refused("scripts/train.py", "data=npz", "data.path=text.npz", *TINY, cwd=place)
    assert "text.npz: has no second, and to learn from" in found


def test_python_takes_ids_for_the_outputs(tmp_path):
    generator = np.random.default_rng(0)
    first, second = generator.uniform(-0.9, 0.9, (2, 40, 4)).astype("f4")
    ids = np.arange(40) * 3
    tiny = {"hdn": 8, "rep": 4, "epochs": 1, "verbosity": 0}
    BiDNN(**tiny, fname_out=str(tmp_path / "fit.npz")).fit(first, second, ids=ids)
    net = BiDNN(**tiny, mod1size=4, mod2size=4, fname_out=str(tmp_path / "train.npz"))
    net.load_dataset(np.hstack([first, second]), ids=ids).train()
    for name in ("fit.npz", "train.npz"):
        np.testing.assert_array_equal(np.load(tmp_path / name)["id"], ids)
