"""TensorBoard's files, read back by TensorBoard."""

import csv
import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import Callback
from PIL import Image

from bidnn.data.sources import ArraySource
from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.model.inference import embed
from bidnn.training import tensorboard
from bidnn.training.callbacks.histograms import Histograms
from bidnn.training.callbacks.pictures import GAP, Pictures, as_pictures, draw
from bidnn.training.callbacks.projector import Projector
from bidnn.training.given import Given
from bidnn.training.tensorboard import TensorBoard
from tests.training.boards import board, curves, events, hparams_tab, named
from tests.training.fitting import run, settings

CHECKPOINTS = {
    "checkpoint": {
        "_target_": "bidnn.training.callbacks.checkpoints.Checkpoints",
        "every_n_epochs": 1,
        "every_minutes": 0,
    }
}
CHOSEN = Given.of(["model.hdn=4", "data.path=some/where.npz", "+trainer.max_epochs=4"])


def configured(folder, epochs, **more):
    config = settings(epochs, val_fraction=0.3, **more)
    config.run_dir, config.objective = str(folder), "val/loss"
    config.callbacks = {"checkpoint": {**CHECKPOINTS["checkpoint"], "folder": str(folder)}}
    config.logger = board(folder)
    return config


@pytest.fixture(scope="module")
def rows():
    """A hundred rows, half of the information of one modality in the other."""
    values = np.random.default_rng(0).uniform(-0.5, 0.5, (120, 6)).astype(np.float32)
    values[:, 2:4] = values[:, :2]
    present = np.ones((120, 2), dtype=bool)
    present[:20, 0] = present[20:40, 1] = False
    ids = np.array([f"row\t{number}" for number in range(120)])
    labels = np.array(["even", "odd"] * 60)
    return PairStore(values[:, :2], values[:, 2:], present, labels, ids=ids)


@pytest.fixture(scope="module")
def whole(rows, tmp_path_factory):
    """A run of four epochs: its folder, its metrics, its model."""
    folder = tmp_path_factory.mktemp("board") / "whole"
    config = configured(folder, 4)
    config.logger |= {
        "csv": {
            "_target_": "bidnn.training.loggers.Csv",
            "save_dir": str(folder),
            "name": "",
            "version": "csv",
        }
    }
    extras = [Projector(max_rows=50), Histograms(every_n_epochs=2, rows=7)]
    return folder, run(rows, config, extras, chosen=CHOSEN)


def test_curves_are_what_csv_has_and_nothing_is_an_epoch(whole):
    folder, _ = whole
    with (folder / "csv" / "metrics.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    found = curves(folder)
    assert "epoch" in lines[0]
    assert "epoch" not in found
    names = set(lines[0]) - {"epoch", "step"}
    assert len(names) == 7
    for name in names:
        tag = {"learning_rate": "train/learning_rate"}.get(name, name)
        expected = [(int(line["step"]), float(line[name])) for line in lines if line[name]]
        assert len(expected) == 4
        assert [step for step, _ in found[tag]] == [step for step, _ in expected]
        assert [v for _, v in found[tag]] == pytest.approx([v for _, v in expected], rel=1e-6)


def test_points_written_together_have_the_steps_and_times_that_they_were_logged_at(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(tensorboard, "WAITING", 1e9)
    logger = TensorBoard(str(tmp_path), name="", version="tensorboard")
    times = []
    for step in range(4):
        times.append(time.time())
        logger.log_metrics({"train/loss": float(step)}, step)
        times.append(time.time())
        time.sleep(0.01)
    logger.save()
    points = events(tmp_path).Scalars("train/loss")
    assert [(point.step, point.value) for point in points] == [(n, float(n)) for n in range(4)]
    for point, before, after in zip(points, times[::2], times[1::2], strict=True):
        assert before <= point.wall_time <= after


def test_the_last_value_of_each_is_the_final_metric_and_the_objective_is_first(whole):
    folder, made = whole
    final = json.loads((folder / "metrics.json").read_text())
    found, last = curves(folder), made.trainer.global_step
    assert {"agreement", "explained/first_to_second", "val/loss"} <= set(final)
    for name, value in final.items():
        tag = {"learning_rate": "train/learning_rate"}.get(name, name)
        assert found[tag][-1] == (last, pytest.approx(value, rel=1e-6))
    assert len(found["agreement"]) == 1
    assert min(found) == "Objective/val/loss"
    assert found["Objective/val/loss"] == [(last, pytest.approx(final["val/loss"], rel=1e-6))]


def test_the_run_is_named_by_what_was_set_and_shows_all_settings_as_text(whole):
    folder, _ = whole
    assert named(folder) == folder / "tensorboard" / "hdn=4,path=where.npz,max_epochs=4"
    (text,) = events(folder).Tensors("settings/text_summary")
    lines = text.tensor_proto.string_val[0].decode().splitlines()
    assert "    optimizer.lr: 0.1" in lines
    assert "    data.batch_size: 8" in lines


def test_a_sweep_shows_what_is_swept_and_the_objective_in_its_first_columns(rows, tmp_path):
    expected = {}
    for number, (rate, size) in enumerate([(0.1, 4), (0.1, 8), (0.3, 4), (0.3, 8)]):
        folder = tmp_path / str(number)
        config = configured(folder, 1, network={"rep": size})
        config.optimizer.lr = rate
        chosen = Given.of(
            ["activation=tanh", f"model.rep={size}", f"optimizer.lr={rate}"],
            ["optimizer.lr", "model.rep"],
        )
        name = f"{number}/tensorboard/lr={rate},rep={size}"
        expected[name] = rate, size, run(rows, config, chosen=chosen).fitted.metrics["val/loss"]
    shown, metrics, found = hparams_tab(tmp_path)
    assert shown == ["model.rep", "optimizer.lr", "activation"]
    assert metrics[:4] == [
        *("Objective/val/loss", "agreement"),
        *("explained/first_to_second", "explained/second_to_first"),
    ]
    assert set(found) == set(expected)
    for name, (rate, size, loss) in expected.items():
        given, measured = found[name]
        assert given == {"optimizer.lr": rate, "model.rep": size, "activation": "tanh"}
        assert measured["Objective/val/loss"] == pytest.approx(loss, rel=1e-6)


def test_without_hyper_parameters_there_are_none(rows, tmp_path):
    config = configured(tmp_path, 1, trainer={"enable_autolog_hparams": False})
    run(rows, config, chosen=CHOSEN)
    assert hparams_tab(tmp_path)[0] == []
    assert "val/loss" in curves(tmp_path)


class Fails(Callback):
    """After what the epoch logs, and before its checkpoint."""

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 3:
            raise RuntimeError("the machine is gone")


def test_a_resumed_run_has_every_point_once_and_keeps_its_name(rows, tmp_path, whole):
    expected = curves(whole[0])
    with pytest.raises(RuntimeError, match="gone"):
        run(rows, configured(tmp_path, 4), [Fails()], chosen=CHOSEN)
    assert len(curves(tmp_path)["train/loss"]) == 3
    for path in named(tmp_path).glob("events.*"):  # what a checkpoint knows nothing of
        path.write_bytes(path.read_bytes() + b"half a record")
    config = configured(tmp_path, 4)
    config.resume = True
    run(rows, config, chosen=Given.of(["model.hdn=4", "trainer.max_epochs=4"]))
    assert named(tmp_path).name == "hdn=4,path=where.npz,max_epochs=4"
    assert curves(tmp_path) == expected


def test_a_run_that_had_ended_and_goes_on_has_its_final_metrics_once(rows, tmp_path, whole):
    run(rows, configured(tmp_path, 2), chosen=CHOSEN)
    assert len(curves(tmp_path)["train/loss"]) == 2
    config = configured(tmp_path, 4)
    config.resume = True
    run(rows, config, chosen=CHOSEN)
    assert curves(tmp_path) == curves(whole[0])


def test_a_run_that_begins_anew_in_a_folder_leaves_no_earlier_points(rows, tmp_path):
    other = tmp_path / "tensorboard" / "events.mine"
    run(rows, configured(tmp_path, 2), chosen=CHOSEN)
    other.touch()
    run(rows, configured(tmp_path, 1), chosen=Given.of(["seed=0"]))
    assert other.exists()
    other.unlink()
    assert named(tmp_path).name == "seed=0"
    assert len(curves(tmp_path)["train/loss"]) == 1


def test_files_that_others_share_are_left_alone(rows, tmp_path):
    for number in range(2):
        config = configured(tmp_path / str(number), 1)
        config.logger = board(tmp_path / "all")
        run(rows, config, chosen=Given.of([f"seed={number}"]))
    found = {path.parent.name for path in (tmp_path / "all").rglob("events.*")}
    assert found == {"seed=0", "seed=1"}


def test_the_projector_has_the_embedding_of_a_sample_with_ids_labels_and_what_is_missing(
    rows, whole
):
    folder, made = whole
    lines = (named(folder) / "projector" / "rows.tsv").read_text().splitlines()
    assert lines[0] == "label\tid\tmissing"
    table = [line.split("\t") for line in lines[1:]]
    assert len(table) == 50
    numbers = [int(name.removeprefix("row ")) for _, name, _ in table]
    assert numbers == sorted(set(numbers))
    assert {missing for *_, missing in table} == {"none", "first", "second"}
    for number, (label, _, missing) in zip(numbers, table, strict=True):
        assert label == ("even", "odd")[number % 2]
        assert missing == ("first" if number < 20 else "second" if number < 40 else "none")
    found = np.loadtxt(named(folder) / "projector" / "embedding.tsv", delimiter="\t")
    expected = embed(made.fitted.model, rows)[numbers]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    text = (named(folder) / "projector_config.pbtxt").read_text()
    assert 'tensor_path: "projector/embedding.tsv"' in text
    assert 'metadata_path: "projector/rows.tsv"' in text


def test_histograms_come_at_their_interval_and_count_every_weight(whole):
    folder, made = whole
    found, per_epoch = events(folder), made.trainer.global_step // 4
    weights = {n: p.detach() for n, p in made.fitted.model.network.named_parameters()}
    assert set(found.Tags()["histograms"]) == {"embedding", *(f"weights/{n}" for n in weights)}
    for name, values in weights.items():
        drawn = found.Histograms(f"weights/{name}")
        assert [one.step for one in drawn] == [2 * per_epoch, 4 * per_epoch]
        assert drawn[-1].histogram_value.num == values.numel()
        low, high = float(values.min()), float(values.max())
        assert drawn[-1].histogram_value.min == pytest.approx(low)
        assert drawn[-1].histogram_value.max == pytest.approx(high)
    assert found.Histograms("embedding")[0].histogram_value.num == 7 * 4


def test_without_being_asked_for_there_are_no_histograms_and_no_pictures(rows, tmp_path):
    run(rows, configured(tmp_path, 1), [Histograms(), Pictures(tmp_path)])
    tags = events(tmp_path).Tags()
    assert tags["histograms"] == tags["images"] == []
    assert not (tmp_path / "translations.png").exists()


def pictured(store, folder, shapes, **more):
    config = configured(folder, 3)
    config.data = ArraySource(
        batch_size=8, val_fraction=0.3, first_shape=shapes[0], second_shape=shapes[1]
    )
    config.scaling.kind = type(config.scaling.kind)("standard")
    return run(store, config, [Pictures(folder, **more)])


def grey(value, low, high):
    return round(255 * min(1.0, max(0.0, (value - low) / (high - low))))


def test_pictures_are_the_given_the_true_and_the_translated_half(rows, tmp_path):
    made = pictured(rows, tmp_path, ([1, 2], [2, 2]), rows=3, every_n_epochs=1)
    model, held = made.fitted.model, made.data.val_rows
    chosen = held[[0, round((len(held) - 1) / 2), len(held) - 1]]
    first, second = (torch.from_numpy(part) for part in rows.take(chosen))
    with torch.no_grad():
        scaled = model.scale(first, second)
        other = model.second_scaler.inverse(model.network.translate(first=scaled[0]))
    parts = [np.asarray(p) for p in (first, second, other)]
    ends = [(p.min(), p.max()) for p in (parts[0], parts[1], parts[1])]
    found = events(tmp_path)
    shown = found.Images("translations/first_to_second")
    assert len(shown) == 3
    assert shown[-1].step == made.trainer.global_step
    path = tmp_path / "shown.png"
    path.write_bytes(shown[-1].encoded_image_string)
    pixels = np.asarray(Image.open(path))
    # A pixel of [1, 2] is 48 wide, of [2, 2] 24: each part is 48 high.
    assert pixels.shape == (3 * 48 + 2 * GAP, 96 + 48 + 48 + 2 * GAP, 3)
    for row in range(3):
        top = row * (48 + GAP)
        for part, (left, size) in enumerate([(0, 48), (96 + GAP, 24), (144 + 2 * GAP, 24)]):
            for number, value in enumerate(parts[part][row]):
                y = top + number // 2 * size + size // 2
                x = left + number % 2 * size + size // 2
                assert pixels[y, x].tolist() == pytest.approx([grey(value, *ends[part])] * 3, abs=1)
    assert (pixels[48 : 48 + GAP] == 255).all()
    both = np.asarray(Image.open(tmp_path / "translations.png"))
    np.testing.assert_array_equal(both[:, : pixels.shape[1]], pixels)
    assert both.shape[1] > 2 * 96


def test_a_modality_that_is_no_picture_is_neither_shown_nor_drawn_from(rows, tmp_path):
    made = pictured(rows, tmp_path, (None, [2, 2]))
    assert events(tmp_path).Tags()["images"] == ["translations/first_to_second"]
    drawn = draw(made.fitted.model, rows, rows.complete[:2], (None, [2, 2]))
    assert {name: p.shape for name, p in drawn.items()} == {
        "first_to_second": (96 + GAP, 96 + GAP, 3)
    }


def test_coloured_pictures_keep_their_channels():
    values = np.random.default_rng(0).uniform(size=(4, 12)).astype(np.float32)
    shown = as_pictures(values, [2, 2, 3], 0.0, 1.0)
    assert shown.shape == (4, 48, 48, 3)
    assert shown[3, 40, 5].tolist() == (255 * values[3].reshape(2, 2, 3)[1, 0]).round().tolist()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ([3, 2], r"data.second_shape=\[3, 2\]: 6 pixels, but the second modality has 4 columns"),
        ([4], r"data.second_shape=\[4\]: \[height,width\] of a grey picture, or"),
        ([1, 2, 2], r"data.second_shape=\[1, 2, 2\]: \[height,width\]"),
        ([-2, -2], r"data.second_shape=\[-2, -2\]"),
    ],
)
def test_a_shape_that_is_not_of_the_rows_is_refused(rows, tmp_path, shape, message):
    with pytest.raises(UserError, match=message):
        pictured(rows, tmp_path, (None, shape))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Pictures(None, rows=-1),
        lambda: Pictures(None, every_n_epochs=-1),
        lambda: Projector(max_rows=-1),
        lambda: Histograms(every_n_epochs=-1),
    ],
)
def test_negative_numbers_are_refused(make):
    with pytest.raises(UserError, match="=-1: must be at least 0"):
        make()


def test_a_folder_that_vanishes_while_it_is_listed_has_no_files(tmp_path, monkeypatch):
    logger = TensorBoard(str(tmp_path), name="", version="tensorboard")
    logger.log_metrics({"train/loss": 1.0}, 0)
    assert len(logger.sizes()) == 1

    def gone(*_):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(Path, "rglob", gone)
    assert logger.sizes() == {}
