"""Several processes: one run, in a sweep too; each of them started by whoever starts processes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bidnn.programs.processes import own_arguments, program_of_this_process
from bidnn.training.resuming import Begun
from tests.needing import needs_compiler
from tests.programs.running import ROOT, TINY, run, start, succeed
from tests.reading import arrays

pytestmark = pytest.mark.slow
TRAIN = "scripts/train.py"
DDP = ("trainer=ddp", "trainer.accelerator=cpu")


def files(folder):
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith("events.out")
    )


def test_a_sweep_of_ddp_runs_leaves_the_files_of_a_sweep_of_single_ones(tmp_path):
    for name, more in (("one", ()), ("two", DDP)):
        folder = tmp_path / name
        settings = ("-m", "seed=1,2", "model.dropout=0", f"hydra.sweep.dir={folder}")
        succeed(TRAIN, *settings, *TINY, *more, cwd=tmp_path)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]
    for job in ("0", "1"):
        single, double = (
            arrays(tmp_path / name / job / "embedding_final.npz") for name in ("one", "two")
        )
        np.testing.assert_array_equal(single["label"], double["label"])
        np.testing.assert_allclose(single["embedding"], double["embedding"], atol=1e-4)


def test_torchrun_starts_one_run_in_the_folder_that_is_named(tmp_path):
    folder = tmp_path / "run"
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"),
        *("--master-port=0", "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"),
        *(str(ROOT / TRAIN), *DDP, *TINY),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for more, status in (((), 1), ((f"hydra.run.dir={folder}",), 0)):
        ended = subprocess.run(
            [*command, *more],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env=environment,
            timeout=300,
            check=False,
        )
        assert ended.returncode == status, ended.stdout + ended.stderr
        if status:
            assert "error: these processes were started together" in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert json.loads((folder / "metrics.json").read_text())["train/loss"] > 0
    assert not list(folder.glob("*ddp_process*"))


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_two_nodes_give_the_losses_of_one_process(tmp_path):
    settings = ["data=digits", "model.dropout=0", *TINY, "data.missing_rate=0.3"]
    succeed(TRAIN, *settings, f"hydra.run.dir={tmp_path}/one")
    port = free_port()
    nodes = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--nnodes=2", f"--node-rank={n}"),
                *("--nproc-per-node=1", "--master-addr=127.0.0.1", f"--master-port={port}"),
                *(str(ROOT / TRAIN), *settings, *DDP, "trainer.devices=1"),
                *("trainer.num_nodes=2", f"hydra.run.dir={tmp_path}/two"),
            ],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for n in (0, 1)
    ]
    assert [node.wait(timeout=300) for node in nodes] == [0, 0]
    one, two = (json.loads((tmp_path / n / "metrics.json").read_text()) for n in ("one", "two"))
    for name in ("train/loss", "val/loss", "map/translate", "agreement"):
        assert two[name] == pytest.approx(one[name], rel=1e-5), name
    vectors = [arrays(tmp_path / n / "embedding_final.npz")["embedding"] for n in ("one", "two")]
    np.testing.assert_allclose(vectors[1], vectors[0], atol=1e-5)


KILL = """
import os
import signal

from lightning import Callback


class Kill(Callback):
    by_chunks = True

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        if f"{trainer.current_epoch} {number} {trainer.global_rank}" == os.environ.get("KILLED"):
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_node_killed_in_mid_epoch_and_a_job_begun_again_change_nothing(tmp_path, monkeypatch):
    (tmp_path / "kill.py").write_text(KILL)
    settings = (
        *(f"--config-dir={tmp_path}", "+callbacks.kill={_target_: kill.Kill}", "resume=auto"),
        *(*TINY, "trainer.max_epochs=3", "optimizer=adamw", "data.missing_rate=0.3"),
        *("data.batch_size=6", "callbacks.checkpoint.every_minutes=0.0003", "logger=csv"),
        *(*DDP, "trainer.devices=1", "trainer.num_nodes=2", "callbacks.report=null"),
    )

    def job(folder, killed=""):
        """Statuses of two nodes, told of each other as torchrun tells, and what they said."""
        told = {"WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
        told |= {"MASTER_PORT": str(free_port()), "TORCHELASTIC_RUN_ID": "a", "KILLED": killed}
        nodes = []
        for number in ("0", "1"):
            for name, value in {**told, "RANK": number, "GROUP_RANK": number}.items():
                monkeypatch.setenv(name, value)
            nodes.append(start(TRAIN, *settings, f"hydra.run.dir={tmp_path / folder}"))
        said = [node.communicate(timeout=60)[1] for node in nodes]
        return [node.returncode for node in nodes], said

    assert job("alone")[0] == [0, 0]
    for rank, epoch in ((1, 1), (0, 2)):
        statuses, said = job("killed", f"{epoch} 1 {rank}")
        assert statuses[rank] == -signal.SIGKILL
        assert statuses[1 - rank] == 1, said
        assert "Traceback" not in said[1 - rank]
        assert said[1 - rank].count("another process of this run ended first") == 1
        assert "to go on, started as before by what starts the processes: " in said[1 - rank]
        begun = Begun.read(tmp_path / "killed" / "checkpoints" / "last.ckpt")
        assert begun.epochs == epoch
        assert begun.steps == epoch * 199 + 64  # after the first chunk of the epoch
    statuses, said = job("killed")
    assert statuses == [0, 0], said
    for name in ("metrics.json", "csv/metrics.csv", "embedding_final.npz"):
        assert (tmp_path / "killed" / name).read_bytes() == (
            tmp_path / "alone" / name
        ).read_bytes(), name


def test_a_sweep_can_be_given_to_submitit(tmp_path):
    settings = ("seed=1,2", "-m", "hydra/launcher=submitit_local", f"hydra.sweep.dir={tmp_path}")
    succeed(TRAIN, *settings, *TINY, cwd=tmp_path)
    assert all((tmp_path / job / "embedding_final.npz").is_file() for job in ("0", "1"))


def test_a_process_knows_which_arguments_are_its_own(monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "BIDNN_JOB"):
        monkeypatch.delenv(name, raising=False)
    assert own_arguments(["seed=1"]) == ["seed=1"]
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    with pytest.raises(ValueError, match=r"hydra\.run\.dir=FOLDER"):
        own_arguments(["seed=1"])
    monkeypatch.setenv("SLURM_PROCID", "3")
    quiet = ["hydra.output_subdir=null", "hydra/job_logging=console"]
    assert own_arguments(["hydra.run.dir=x"]) == ["hydra.run.dir=x", *quiet]
    monkeypatch.delenv("SLURM_PROCID")
    monkeypatch.delenv("SLURM_STEP_NUM_TASKS")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("BIDNN_JOB", '{"program": "train", "arguments": ["seed=2"]}')
    assert own_arguments(["-m", "seed=1,2"]) == ["seed=2", *quiet]
    assert program_of_this_process() == "train"


SHARDED = """
import os

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from bidnn.architecture import NetworkConfig
from bidnn.losses import LossConfig, pair_loss
from bidnn.network import Network

dist.init_process_group("gloo")
first, second = torch.linspace(-1, 1, 128).view(16, 8), torch.linspace(1, -1, 192).view(16, 12)


def losses(network, share):
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    found = []
    for _ in range(5):
        total = pair_loss(network(*share), *share, LossConfig())["loss"]
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        found.append(total.item())
    return torch.tensor(found)


networks = []
for _ in range(2):
    torch.manual_seed(0)
    networks.append(Network(8, 12, NetworkConfig(hdn=16, rep=8, dropout=0.0)))
fully_shard(networks[1], mesh=init_device_mesh("cpu", (2,)))
rank = dist.get_rank()
whole = losses(networks[0], (first, second))
part = losses(networks[1], (first[rank::2], second[rank::2]))
dist.all_reduce(part)
torch.testing.assert_close(part / 2, whole)
dist.barrier()
dist.destroy_process_group()
# All is asserted. Threads of torch's own, which end at the interpreter's end, abort now and then.
os._exit(0)
"""


def test_tied_weights_can_be_sharded_over_processes(tmp_path):
    script = tmp_path / "sharded.py"
    script.write_text(SHARDED)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    command += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", str(script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=Path(ROOT), env=environment, timeout=300, check=True)


@needs_compiler
def test_compiled_steps_of_two_processes_are_the_plain_ones(tmp_path):
    found = {}
    for name, more in (("plain", ()), ("fast", ("speed.compile=true",))):
        rest = ("trainer.max_epochs=3", "optimizer=adam", "optimizer.schedule=cosine")
        settings = (*TINY, *DDP, "trainer.devices=2", *rest, f"hydra.run.dir={name}")
        succeed(TRAIN, *settings, *more, cwd=tmp_path)
        metrics = json.loads((tmp_path / name / "metrics.json").read_text())
        found[name] = metrics, arrays(tmp_path / name / "embedding_final.npz")["embedding"]
    assert "compiled the training step" in (tmp_path / "fast" / "train.log").read_text()
    for key in ("train/loss", "val/loss"):
        assert found["fast"][0][key] == pytest.approx(found["plain"][0][key], rel=1e-5)
    np.testing.assert_allclose(found["fast"][1], found["plain"][1], atol=1e-4)


def peers_lose(folder, what):
    """Settings with a loss of one's own, which does that where another process started it."""
    (folder / "mine" / "loss").mkdir(parents=True)
    (folder / "mine" / "loss" / "own.yaml").write_text("_target_: own.Own\n")
    (folder / "mine" / "own.py").write_text(
        "import os, time\n"
        "from pathlib import Path\n"
        "from bidnn.losses import LossConfig\n"
        "class Own(LossConfig):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        if 'LOCAL_RANK' in os.environ:\n"
        f"            {what}\n"
    )
    return ("--config-dir", "mine", "loss=own", "hydra.run.dir=run")


def test_a_process_that_fails_before_the_others_meet_it_ends_them_with_a_line(tmp_path):
    own = peers_lose(tmp_path, "raise OSError('only the first has a disk')")
    ended = run("-m bidnn", "train", *own, *TINY, *DDP, cwd=tmp_path)
    assert ended.status == 1
    assert "only the first has a disk" in ended.err
    line = "process 1 of this training ended with status 1; the others end"
    assert line in ended.err
    assert line in (tmp_path / "run" / "train.log").read_text()


def test_a_process_whose_first_is_killed_before_they_meet_does_not_outlive_it(tmp_path):
    own = peers_lose(tmp_path, "Path('peer').write_text(str(os.getpid())); time.sleep(3)")
    process = start("-m bidnn", "train", *own, *TINY, *DDP, cwd=tmp_path, fresh=True)
    until = time.monotonic() + 120
    while not (tmp_path / "peer").exists() and time.monotonic() < until:
        time.sleep(0.05)
    process.kill()
    _, said = process.communicate(timeout=120)  # which the other one, too, would keep open
    assert "the process that started this one has ended; this one ends" in said
