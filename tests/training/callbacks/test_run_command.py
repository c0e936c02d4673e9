"""The user's command: what it is given, what it can do, how it ends."""

import logging
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy

from bidnn.errors import UserError
from bidnn.model.command import check_command, fill_command
from bidnn.model.outputs import OutputConfig
from bidnn.training.callbacks.run_command import RunCommand, run_command

OUTPUT = Path("out.npz")


def ran(command, tmp_path, name):
    """What a command prints that is given a file of that name."""
    said = tmp_path / "said"
    outcome = run_command(f"exec > {said}; {fill_command(command)}", 10, Path(name))
    assert outcome.failure is None
    return said.read_text()


NAMES = ("plain.npz", "with space.npz", "qu'o\"te;$(touch bad)`touch bad`.npz", "$(touch bad)/*")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "command",
    [
        *("printf '[%s]' {output}", "printf '[%s]' \"$BIDNN_OUTPUT\""),
        *(
            "printf '[%s]' `echo` {output} # a comment",
            "echo '' \"$(echo)\"; printf '[%s]' {output}",
        ),
        "sh -c 'printf [%s] \"$BIDNN_OUTPUT\"'",
    ],
)
def test_the_output_is_one_argument_whatever_its_name(tmp_path, monkeypatch, name, command):
    monkeypatch.chdir(tmp_path)
    check_command(command)
    assert ran(command, tmp_path, name).strip() == f"[{name}]"
    assert not (tmp_path / "bad").exists()


@pytest.mark.parametrize(
    "command",
    [
        *("test -f '{output}'", 'test -f "{output}"', "cat \\{output}", "x=`wc -c {output}`"),
        *("cat <<EOF\n{output}\nEOF", "echo $(( {output} ))", "sh -c 'cat {output}'"),
        *('echo "it\'s" "a\\" {output}"', "true # {output}", "cat {output} && cat '{output}'"),
    ],
)
def test_a_quoted_output_is_refused_with_the_way_out(command):
    with pytest.raises(UserError, match=r'without quotes, or use "\$BIDNN_OUTPUT"'):
        OutputConfig(command=command)


@pytest.mark.parametrize("name", NAMES)
def test_no_shell_executes_a_name_even_where_it_is_quoted(tmp_path, monkeypatch, name):
    """What check_command might overlook must still do no harm."""
    monkeypatch.chdir(tmp_path)
    for command in ("test -f '{output}'", 'test -f "{output}"', "cat <<EOF\n{output}\nEOF\n"):
        run_command(fill_command(command), 10, Path(name))
    assert not (tmp_path / "bad").exists()


def test_what_it_prints_goes_to_the_log_and_numbers_of_the_last_line_come_back(caplog):
    with caplog.at_level(logging.INFO):
        outcome = run_command(
            'echo hello; echo \'{"map": 0.5, "name": "x", "bad": NaN}\'', 10, OUTPUT
        )
    assert "| hello" in caplog.text
    assert "status 0" in caplog.text
    assert outcome.failure is None
    assert outcome.metrics == {"map": 0.5}


@pytest.mark.parametrize("last", ["nothing", "[1, 2]", "{broken", "3"])
def test_a_last_line_that_is_no_object_has_no_metrics(last):
    outcome = run_command(f"echo '{last}'", 10, OUTPUT)
    assert outcome.failure is None
    assert outcome.metrics == {}


def test_failures_are_told_apart():
    assert run_command("exit 3", 10, OUTPUT).failure == "exited with status 3"
    assert run_command("kill -9 $$", 10, OUTPUT).failure == "was ended by signal 9"
    assert "127" in run_command("no-such-command-here", 10, OUTPUT).failure
    assert run_command("echo '{\"map\": 1}'; exit 1", 10, OUTPUT).metrics == {}


def test_a_command_that_hangs_is_ended_with_its_children(tmp_path):
    pid = tmp_path / "pid"
    outcome = run_command(f"sleep 100 & echo $! > {pid}; wait", 0.5, OUTPUT)
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
    assert run_command("sleep 100 & echo done", 60, OUTPUT).failure is None
    assert time.monotonic() - started < 30


def test_it_has_no_input_and_may_flood(caplog):
    with caplog.at_level(logging.WARNING):
        assert run_command('read x; test -z "$x"', 10, OUTPUT).failure is None
        outcome = run_command(
            "yes | head -n 20000; head -c 300000 /dev/zero; echo; echo '{\"a\": 1}'",
            60,
            OUTPUT,
        )
    assert outcome.metrics == {"a": 1.0}


def test_a_command_takes_no_longer_than_other_processes_wait():
    def limit(processes, strategy, timeout_s=3600.0):
        runs = RunCommand(OutputConfig(command="true", timeout_s=timeout_s))
        return runs._limit(SimpleNamespace(world_size=processes, strategy=strategy))

    impatient = DDPStrategy(timeout=timedelta(seconds=100))
    assert limit(1, SingleDeviceStrategy()) == (3600.0, "output.timeout_s")
    assert limit(2, DDPStrategy()) == (0.9 * 1800, "90% of trainer.strategy.timeout")
    assert limit(2, impatient) == (90.0, "90% of trainer.strategy.timeout")
    assert limit(2, impatient, 60.0) == (60.0, "output.timeout_s")
