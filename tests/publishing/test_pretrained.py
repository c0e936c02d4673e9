"""A folder to share holds the whole model, and says only what is known of it."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import bidnn
from bidnn import BiDNN, Embedder
from bidnn.data.formats.libsvm.grammar import IndexBase
from bidnn.data.store import Reading
from bidnn.errors import UserError
from bidnn.model.description import describe_model
from bidnn.model.inference import OutputKind, infer
from bidnn.model.pretrained import read_folder, write_folder
from bidnn.model.saved import load_bundle
from bidnn.training.record import describe_data
from tests.publishing.recipes import NETWORKS, RECIPES, model_of, rows
from tests.test_load import memory

WEIGHT = "network.first_to_second.encoder.weight"


@pytest.mark.parametrize("settings", [*RECIPES, *NETWORKS])
def test_every_recipe_and_network_is_the_same_model_after_a_round_trip(tmp_path, settings):
    model, store = model_of(settings), rows()
    model.reading = Reading(index_base=IndexBase.one, ignore_zeroes=True)
    write_folder(tmp_path / "folder", model, {}, "card")
    found = load_bundle(tmp_path / "folder")
    assert describe_model(found) == describe_model(model)
    for kind in OutputKind:
        for strategy in model.strategies:
            for l2_norm in (False, True):
                own, again = (
                    list(infer(each.with_missing(strategy), store, kind, l2_norm=l2_norm))
                    for each in (model, found)
                )
                for one, other in zip(own, again, strict=True):
                    assert one.left.tobytes() == other.left.tobytes()
                    assert one.right.tobytes() == other.right.tobytes()


def test_tied_weights_are_stored_once(tmp_path):
    sizes = {}
    for tying in ("tied", "untied"):
        model = model_of("experiment=paper", f"tying={tying}")
        write_folder(tmp_path / tying, model, {}, "card")
        with safe_open(tmp_path / tying / "model.safetensors", framework="pt") as file:
            assert file.metadata() == {"format": "pt"}
            names = [name for name in file.keys() if name.endswith("centre.weight")]  # noqa: SIM118 — safetensors has no iterator
            sizes[tying] = sum(np.prod(file.get_slice(n).get_shape()) for n in file.keys())  # noqa: SIM118 — safetensors has no iterator
        assert len(names) == (1 if tying == "tied" else 2)
    assert sizes["untied"] - sizes["tied"] == 2 * 8 * 3


@pytest.fixture(scope="module")
def net():
    store = rows()
    first, second = store.first.copy(), store.second.copy()
    first[~store.present[:, 0]], second[~store.present[:, 1]] = np.nan, np.nan
    return BiDNN(hdn=8, rep=6, epochs=3, verbosity=0).fit(first, second), first, second


def test_it_loads_in_a_fresh_environment_and_gives_the_same_bytes(net, tmp_path):
    trained, first, second = net
    trained.save_pretrained(tmp_path / "shared")
    np.savez(tmp_path / "rows.npz", first=first, second=second)
    code = (
        "import sys, numpy, bidnn\n"
        "rows = numpy.load('rows.npz')\n"
        "net = bidnn.load('shared')\n"
        "z = net.transform(rows['first'], rows['second'])\n"
        "numpy.savez('z.npz', z=z, second=net.translate(first=rows['first']))\n"
        "assert 'huggingface_hub' not in sys.modules and 'lightning' not in sys.modules"
    )
    (tmp_path / "home").mkdir()
    root = os.path.dirname(os.path.dirname(bidnn.__file__))  # noqa: PTH120 — text for PYTHONPATH
    clean = {"HOME": str(tmp_path / "home"), "PYTHONPATH": root, "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=clean)
    found = np.load(tmp_path / "z.npz")
    assert found["z"].tobytes() == trained.transform(first, second).tobytes()
    assert found["second"].tobytes() == trained.translate(first=first).tobytes()
    assert not list((tmp_path / "home").iterdir())


def test_the_card_says_what_is_known_and_what_its_maker_says(net, tmp_path):
    trained, _, _ = net
    said = {"title": "Videos", "intended_use": "Finding videos.", "license": "cc-by-4.0"}
    trained.save_pretrained(tmp_path / "a", card=said | {"tags": ["video"]})
    text = (tmp_path / "a" / "README.md").read_text()
    assert len({path.stat().st_mode for path in (tmp_path / "a").iterdir()}) == 1  # for others, too
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["library_name"] == "bidnn"
    assert front["license"] == "cc-by-4.0"
    assert front["tags"][-1] == "video"
    assert "\n# Videos\n" in text
    assert "## Intended use\n\nFinding videos.\n" in text
    data = describe_data(rows())
    assert f"`{data['fingerprint']}`" in text
    assert "| `rows` | `100` |" in text
    assert f"| `with both modalities` | `{data['complete']}` |" in text
    logged = trained.metrics["explained/first_to_second"]
    assert f"| `explained/first_to_second` | `{logged:.6g}` |" in text
    assert "Its maker has not said what the rows were." in text
    again = BiDNN.from_pretrained(tmp_path / "a")
    again.save_pretrained(tmp_path / "b")  # what was said and measured is not lost
    (tmp_path / "b" / "README.md").write_text(
        (tmp_path / "b" / "README.md").read_text().replace('"b"', '"a"')
    )
    for name in ("README.md", "config.json", "model.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_of_a_model_whose_training_is_unknown_nothing_is_made_up(net, tmp_path):
    trained, _, _ = net
    trained.save(tmp_path / "model.pt")
    bidnn.load(tmp_path / "model.pt").save_pretrained(tmp_path / "folder")
    text = (tmp_path / "folder" / "README.md").read_text()
    assert "Number and fingerprint of the rows: not recorded." in text
    assert "## Figures\n\nNot recorded.\n" in text
    assert "license" not in text.split("---\n")[1]
    assert text.count("Its maker has not said") == 3


def test_names_of_metrics_from_anybody_cannot_leave_their_cell(net, tmp_path):
    trained, _, _ = net
    trained.save_pretrained(tmp_path / "a")
    change(tmp_path / "a", lambda c: c["training"].update(metrics={"`|<b>x": 1.0}))
    bidnn.load(tmp_path / "a").save_pretrained(tmp_path / "b")
    assert "| `'\\|<b>x` | `1` |" in (tmp_path / "b" / "README.md").read_text()


@pytest.mark.parametrize(
    ("card", "match"),
    [
        ({"licence": "mit"}, "a card has no 'licence'; did you mean license"),
        ({"title": 3}, "card: title is no text"),
        ({"tags": "video"}, "tags is a list of texts"),
        ("text", "texts by name are needed, not str"),
    ],
)
def test_what_is_no_card_is_refused_before_anything_is_written(net, tmp_path, card, match):
    with pytest.raises(UserError, match=match):
        net[0].save_pretrained(tmp_path / "a", card=card)
    assert not list(tmp_path.iterdir())


def test_nothing_is_replaced_and_nothing_half_written_stays(net, tmp_path, monkeypatch):
    trained, _, _ = net
    (tmp_path / "empty").mkdir()
    trained.save_pretrained(tmp_path / "empty")
    before = (tmp_path / "empty" / "config.json").read_bytes()
    with pytest.raises(UserError, match="empty: is there already; remove it"):
        trained.save_pretrained(tmp_path / "empty")
    assert (tmp_path / "empty" / "config.json").read_bytes() == before
    monkeypatch.setattr("bidnn.model.pretrained.CARD", "no/such/README.md")
    with pytest.raises(FileNotFoundError):
        trained.save_pretrained(tmp_path / "half")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def change(folder, alter):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    alter(config)
    path.write_text(json.dumps(config))


@pytest.fixture
def folder(tmp_path):
    write_folder(tmp_path / "f", model_of("experiment=incomplete"), {}, "card")
    return tmp_path / "f"


@pytest.mark.parametrize(
    ("alter", "match"),
    [
        (lambda c: c.update(library_name="other"), "not of bidnn"),
        (lambda c: c.update(format=2, bidnn_version="9"), r"of format 2, .* reads 1; .*'9'"),
        (lambda c: c.update(sha256="0" * 64), "its SHA-256 is another"),
        (lambda c: c.pop("model"), "no description of a model .*'model'"),
        (lambda c: c["model"].update(mod1size=10**9), "should be .*1000000000"),
        (lambda c: c["model"].update(mod1size=True), "mod1size is True, not int"),
        (lambda c: c["model"]["network"].update(hdn=10**14), "config.json|model.safetensors"),
        (lambda c: c["model"]["network"].update(hdn=10**30), "no description of a model"),
        (lambda c: c["model"]["network"].update(hdn=8.0), "hdn is 8.0, not int"),
        (lambda c: c["model"]["network"].update(tied="no"), "tied is 'no', not bool"),
        (lambda c: c["model"]["network"].update(activation="exec"), "'exec' is not a valid"),
        (lambda c: c["model"]["network"].update(more=1), "unexpected keyword"),
        (lambda c: c["model"]["embedding"].update(whitening=float("nan")), "whitening=nan"),
        (lambda c: c["model"]["embedding"].pop("space"), "'space'"),
    ],
)
def test_an_altered_description_is_refused_in_one_line_and_takes_no_memory(folder, alter, match):
    change(folder, alter)
    before = memory()
    with pytest.raises(UserError, match=match) as refused:
        bidnn.load(folder)
    assert "\n" not in str(refused.value)
    assert str(folder) in str(refused.value)
    assert memory() - before < 2**27


@pytest.mark.parametrize(
    ("alter", "match"),
    [
        (lambda w: w.pop(WEIGHT), rf"{WEIGHT} should be \[8, 6\] .* is absent"),
        (lambda w: w.update(extra=torch.ones(2)), r"extra should be absent .* is \[2\]"),
        (lambda w: w.update({WEIGHT: w[WEIGHT].T.contiguous()}), r"but is \[6, 8\] \(F32\)"),
        (lambda w: w.update({WEIGHT: w[WEIGHT].to(torch.int32)}), r"is \[8, 6\] \(I32\)"),
        (lambda w: w.update({WEIGHT: w[WEIGHT].to(torch.float8_e5m2)}), r"\(F8_E5M2\)"),
    ],
)
def test_other_weights_than_described_are_refused_by_the_head_of_the_file(folder, alter, match):
    weights = load_file(folder / "model.safetensors")
    alter(weights)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(UserError, match=match):
        read_folder(folder)


def resealed(folder, content):
    """The weights replaced, and the description saying that they are the right ones."""
    import hashlib

    (folder / "model.safetensors").write_bytes(content)
    change(folder, lambda c: c.update(sha256=hashlib.sha256(content).hexdigest()))


def test_weights_that_are_not_finite_are_refused(folder):
    weights = load_file(folder / "model.safetensors")
    weights[WEIGHT][0, 0] = float("nan")
    save_file(weights, folder / "model.safetensors")
    resealed(folder, (folder / "model.safetensors").read_bytes())
    with pytest.raises(UserError, match="infinities or NaN"):
        read_folder(folder)


@pytest.mark.parametrize("content", [b"", b"\x80\x02.", bytes(8), b"\xff" * 64, b"PK\x03\x04" * 9])
def test_what_is_no_file_of_weights_is_refused_even_if_it_is_sealed(folder, content):
    resealed(folder, content)
    with pytest.raises(UserError, match=r"model\.safetensors: no readable file of weights"):
        bidnn.load(folder)


def test_one_changed_bit_and_half_a_file_are_damage(folder):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(UserError, match="its SHA-256 is another"):
        bidnn.load(folder)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="no readable file of weights"):
        bidnn.load(folder)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors: not there"):
        bidnn.load(folder)
    path.write_bytes(whole)
    (folder / "config.json").write_bytes(b" " * (2**20 + 1))
    with pytest.raises(UserError, match="larger than any of bidnn's"):
        bidnn.load(folder)
    for text in ("[" * 100_000, "[1]", "{", "\xff"):
        (folder / "config.json").write_text(text, encoding="latin-1")
        with pytest.raises(
            UserError, match=r"config\.json: (no readable description|not of bidnn)"
        ):
            bidnn.load(folder)
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"config\.json: not there"):
        bidnn.load(folder)


@pytest.mark.parametrize(
    "training",
    [
        [1],
        *({"rows": -1}, {"rows": 1.5}, {"fingerprint": "x"}, {"metrics": {"a\nb": 1}}),
        *({"metrics": {"a": "b"}}, {"versions": {"torch": ["x"]}}),
    ],
)
def test_what_a_folder_says_of_its_training_is_checked_before_it_is_said_again(
    net, tmp_path, training
):
    net[0].save_pretrained(tmp_path / "a")
    change(tmp_path / "a", lambda c: c.update(training=training))
    loaded = bidnn.load(tmp_path / "a")
    with pytest.raises(UserError, match=re.escape(str(tmp_path / "a" / "config.json"))):
        loaded.save_pretrained(tmp_path / "b")


def test_without_safetensors_a_line_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(UserError, match=r"pip install 'bidnn\[hub\]'"):
        bidnn.load(folder)


def test_an_embedder_takes_a_folder_and_notices_another_in_its_place(net, tmp_path):
    trained, first, second = net
    trained.save_pretrained(tmp_path / "a")
    embedder = Embedder(tmp_path / "a")
    batch = embedder({"first": first, "second": second})
    assert batch["embedding"].tobytes() == trained.transform(first, second).tobytes()
    files = [name for name, _, _ in embedder.__getstate__()["_files"]]
    assert files == [str(tmp_path / "a" / n) for n in ("model.safetensors", "config.json")]


def test_from_pretrained_says_what_other_models_are_for(net, tmp_path):
    net[0].save(tmp_path / "model.pt")
    for path in (tmp_path, tmp_path / "model.pt"):
        with pytest.raises(FileNotFoundError, match=r"a saved model, is for bidnn\.load"):
            BiDNN.from_pretrained(path)
