"""The user's command: what it is given, what it can do, how it ends."""

import logging
import subprocess
import time
from pathlib import Path

import pytest

from bidnn.training.callbacks.run_command import fill_command, run_command


@pytest.mark.parametrize("name", ["plain.npz", "with space.npz", "qu'o\"te;$(x).npz"])
def test_the_output_is_one_argument_whatever_its_name(name):
    command = fill_command("printf '[%s]' {output} %e", Path(name), 7)
    printed = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert printed.stdout == f"[{name}][00007]"


def test_what_it_prints_goes_to_the_log_and_numbers_of_the_last_line_come_back(caplog):
    with caplog.at_level(logging.INFO):
        outcome = run_command('echo hello; echo \'{"map": 0.5, "name": "x", "bad": NaN}\'', 10)
    assert "| hello" in caplog.text
    assert "status 0" in caplog.text
    assert outcome.failure is None
    assert outcome.metrics == {"map": 0.5}


@pytest.mark.parametrize("last", ["nothing", "[1, 2]", "{broken", "3"])
def test_a_last_line_that_is_no_object_has_no_metrics(last):
    outcome = run_command(f"echo '{last}'", 10)
    assert outcome.failure is None
    assert outcome.metrics == {}


def test_failures_are_told_apart():
    assert run_command("exit 3", 10).failure == "exited with status 3"
    assert run_command("kill -9 $$", 10).failure == "was ended by signal 9"
    assert "127" in run_command("no-such-command-here", 10).failure
    assert run_command("echo '{\"map\": 1}'; exit 1", 10).metrics == {}


def test_a_command_that_hangs_is_ended_with_its_children(tmp_path):
    pid = tmp_path / "pid"
    outcome = run_command(f"sleep 100 & echo $! > {pid}; wait", 0.5)
    assert "0.5 seconds" in outcome.failure
    child = Path(f"/proc/{pid.read_text().strip()}")
    for _ in range(100):
        if not child.exists() or "Z" in (child / "stat").read_text().split(")")[1]:
            break
        time.sleep(0.05)
    else:
        pytest.fail("the child is still running")


def test_a_command_that_ends_leaves_no_child_and_does_not_wait_for_one():
    started = time.monotonic()
    assert run_command("sleep 100 & echo done", 60).failure is None
    assert time.monotonic() - started < 30


def test_it_has_no_input_and_may_flood(caplog):
    with caplog.at_level(logging.WARNING):
        assert run_command('read x; test -z "$x"', 10).failure is None
        outcome = run_command(
            "yes | head -n 20000; head -c 300000 /dev/zero; echo; echo '{\"a\": 1}'", 60
        )
    assert outcome.metrics == {"a": 1.0}
