"""The processes of one training: started by Lightning, by torchrun or by SLURM, they are one run.

Each of them begins with the program's command line. Only the first may make the run's folder, and
none may begin a sweep of its own. torch and Hydra are imported where they are used, because every
program asks first which process it is.
"""

import json
import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bidnn.errors import UserError

JOB = "BIDNN_JOB"


def rank() -> int:
    """This process's number among all of the training, 0 if it is the only one."""
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        if name in os.environ:
            return int(os.environ[name])
    return 0


def first_of_its_machine() -> bool:
    """Whether this is the first, or only, process of the training on its machine."""
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "SLURM_LOCALID"))


def share_of_work() -> tuple[int, int]:
    """This process's number, and how many share a work whose parts need nothing of each other.

    They are those of torchrun (or whatever sets RANK and WORLD_SIZE), those of a step of SLURM,
    and, times these, the tasks of its job array.

    Raises:
        UserError: if the array is no range, so that nobody would take some of the parts.
    """
    number, count = 0, 1
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        number, count = rank(), int(os.environ["WORLD_SIZE"])
    elif int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        number, count = rank(), int(os.environ["SLURM_STEP_NUM_TASKS"])
    told = {name: os.environ.get(f"SLURM_ARRAY_TASK_{name}") for name in ("ID", "COUNT", "MIN")}
    if None in told.values():
        return number, count
    task, tasks, first = (int(value or 0) for value in told.values())
    step = int(os.environ.get("SLURM_ARRAY_TASK_STEP", "1"))
    place, rest = divmod(task - first, step)
    last = int(os.environ.get("SLURM_ARRAY_TASK_MAX", first + step * (tasks - 1)))
    if rest or not 0 <= place < tasks or last != first + step * (tasks - 1):
        raise UserError(
            f"SLURM_ARRAY_TASK_ID={task} of {tasks} tasks from {first} to {last}: the tasks of an "
            f"array share the work by their range; start it with --array=0-{tasks - 1}, which does "
            "only what is missing"
        )
    return number + count * place, count * tasks


@contextmanager
def one_job() -> Iterator[None]:
    """Leaves to the processes that Lightning starts what this job is, also within a sweep.

    Afterwards the next job of a sweep can start processes of its own.
    """
    import torch
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import read_write

    from bidnn.programs.quoting import setting

    before = dict(os.environ)
    hydra: Any = HydraConfig.get()
    with read_write(hydra):  # Lightning looks at it, which in a sweep would make a folder of a run
        hydra.run.dir = hydra.runtime.output_dir
    own = [f"--config-dir={path}" for path in own_folders()]
    folder = setting("hydra.run.dir", hydra.runtime.output_dir)
    arguments = [*own, *hydra.overrides.task, folder]
    os.environ[JOB] = json.dumps({"program": hydra.job.config_name, "arguments": arguments})
    try:
        yield
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    finally:
        os.environ.clear()
        os.environ.update(before)


def can_go_on(program: str) -> bool:
    """Whether `resume=true` would go on with this run, as far as it came."""
    from hydra.core.hydra_config import HydraConfig

    kept = {"train": "checkpoints/last.ckpt", "compare": "run.json", "tune": "run.json"}
    folder = Path(HydraConfig.get().runtime.output_dir)
    return program in kept and (folder / kept[program]).is_file()


def resuming_command() -> str:
    """What to type to go on with this run."""
    from hydra.core.hydra_config import HydraConfig

    from bidnn.programs.quoting import typed_setting

    folder = typed_setting("hydra.run.dir", HydraConfig.get().runtime.output_dir)
    return f"{_command('resume=', 'checkpoint=')} resume=true {folder}"


def repeating_command() -> str:
    """What to type to make this run once more, in a folder of its own; of a sweep, this one job."""
    return _command("resume=")


def _command(*without: str) -> str:
    """The command line of this job, but for settings that begin so, and those of Hydra."""
    from hydra.core.hydra_config import HydraConfig

    hydra = HydraConfig.get()
    kept = [a for a in hydra.overrides.task if not a.startswith(without)]
    if hydra.job.config_name == "tune":
        from bidnn.programs.tuning.arguments import as_typed

        kept = as_typed(kept)
    return called(str(hydra.job.config_name), kept)


def called(program: str, settings: Iterable[str]) -> str:
    """The command line of a program, as this process was called, with the own folder of settings.

    Args:
        program: its name.
        settings: as Hydra takes them; they are quoted for the shell.
    """
    words = ["python", str(Path(sys.argv[0]).with_name(f"{program}.py"))]
    if not sys.argv[0].endswith(".py") or Path(sys.argv[0]).name == "__main__.py":
        words = ["bidnn", program]
    own = [f"--config-dir={path}" for path in own_folders()]
    return shlex.join([*words, *own, *settings])


def own_folders() -> list[str]:
    """The folder of settings that `--config-dir` added, if it did."""
    from hydra.core.hydra_config import HydraConfig

    sources = HydraConfig.get().runtime.config_sources
    return [source.path for source in sources if source.provider == "command-line"]


def program_of_this_process() -> str | None:
    """The program that Lightning started this process for; None if a person did."""
    if os.environ.get("LOCAL_RANK", "0") == "0" or JOB not in os.environ:
        return None
    return str(json.loads(os.environ[JOB])["program"])


def own_arguments(arguments: list[str]) -> list[str]:
    """The command line of this process, given that of the program.

    Raises:
        ValueError: if several processes would each choose a folder of their own.
    """
    if os.environ.get("LOCAL_RANK", "0") != "0" and JOB in os.environ:
        arguments = json.loads(os.environ[JOB])["arguments"]
    elif started_together() and not any(a.startswith("hydra.run.dir=") for a in arguments):
        raise UserError(
            "these processes were started together and need one folder; add hydra.run.dir=FOLDER"
        )
    if rank() == 0:
        return arguments
    return [*arguments, "hydra.output_subdir=null", "hydra/job_logging=console"]


def started_together() -> bool:
    """Whether torchrun or a step of SLURM began several processes as one."""
    torchrun = "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1
    return torchrun or int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1
