"""What a training says of its rows before its first epoch, and that nothing else comes of it."""

import logging

import numpy as np
import pytest
import torch

from bidnn import BiDNN
from bidnn.architecture import Activation
from bidnn.data.store import PairStore
from bidnn.model.scaling import ScalingConfig, ScalingKind
from bidnn.training.callbacks.collapse import CollapseCheck
from bidnn.training.fit import fit
from tests.doctor.rows import clean
from tests.training.fitting import settings, trained

LINEAR = {"output_activation": Activation.linear}


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO)

    def lines():
        found = [(r.levelname, r.getMessage()) for r in caplog.records]
        caplog.clear()
        return [(level, text) for level, text in found if text.startswith("doctor: ")]

    return lines


def rows(first, second):
    return PairStore(first, second, np.ones((len(first), 2), dtype=bool))


def test_nothing_is_said_of_rows_without_a_fault(said):
    trained(rows(*clean(0)), epochs=1, network=LINEAR)
    assert said() == []


def test_faults_are_said_the_worst_first_and_once(said, caplog):
    first, second = clean(0)
    first[:, :3] = 1.0
    faulty = rows(first, 100 * second[::-1])
    run = trained(faulty, epochs=1, callbacks=[CollapseCheck()])
    beyond = [r for r in caplog.records if "can never be learned" in r.getMessage()]
    assert len(beyond) == 2  # by CollapseCheck, and not by the doctor
    found = said()
    assert [level for level, _ in found] == ["WARNING", "WARNING", "INFO"]
    assert "in the root mean square" in found[0][1]
    assert found[0][1].endswith(": set model.output_activation=linear scaling=standard")
    assert "of the ten nearest rows by one modality" in found[1][1]
    assert "3 of 12 columns of the first modality" in found[2][1]
    assert run.fitted.metrics["train/loss"] > 1
    trained(faulty, epochs=1, doctor=False)
    assert said() == []
    trained(faulty, epochs=0)  # nothing is trained
    assert said() == []


def test_the_scaling_of_the_training_is_what_is_looked_at(said):
    first, second = clean(0)
    scaling = ScalingConfig(kind=ScalingKind.standard)
    trained(rows(first, 100 * second), epochs=1, scaling=scaling, network=LINEAR)
    assert said() == []


def test_python_is_advised_in_its_own_words(said):
    first, second = clean(0)
    net = BiDNN(recipe="paper", hdn=4, rep=4, epochs=1, output_act="linear", scaling="none")
    net.fit(first, 100 * second)
    ((level, text),) = said()
    assert level == "WARNING"
    assert text.endswith(': set scaling="standard"')


def test_fewer_rows_than_a_batch_are_warned_of_once(said, caplog):
    few = rows(*clean(0, rows=12))
    trained(few, epochs=1, batch_size=16, network=LINEAR)
    assert sum("are fewer than data.batch_size" in r.getMessage() for r in caplog.records) == 1
    assert said() == []
    trained(few, epochs=1, batch_size=4, network=LINEAR)
    ((level, text),) = said()
    assert level == "WARNING"
    assert "12 rows of 12 + 20 columns, 12 with both modalities: too few to measure" in text


def test_a_resumed_run_is_not_told_again_and_no_byte_depends_on_what_is_said(said, tmp_path):
    first, second = clean(0)
    faulty = rows(first, second[::-1])
    ends = {}
    for doctor in (True, False):
        folder = tmp_path / str(doctor)
        keeps = {
            "checkpoint": {
                "_target_": "bidnn.training.callbacks.checkpoints.Checkpoints",
                "folder": str(folder),
            }
        }
        more = {"run_dir": str(folder), "doctor": doctor, "callbacks": keeps, "network": LINEAR}
        np.random.seed(3)  # noqa: NPY002 — whoever trains may use them
        torch.manual_seed(3)
        fit(settings(1, **more), faulty)
        assert len(said()) == doctor
        after = (np.random.random(), torch.rand(()).item())  # noqa: NPY002 — the global state is what is looked at
        resumed = fit(settings(2, resume=True, **more), faulty)
        assert said() == []
        ends[doctor] = after, [p.detach().numpy() for p in resumed.model.parameters()]
    assert ends[True][0] == ends[False][0]
    for one, other in zip(ends[True][1], ends[False][1], strict=True):
        np.testing.assert_array_equal(one, other)
