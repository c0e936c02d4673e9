"""How every program starts and fails: one clear line for a user's mistake, a traceback for ours."""

import logging
import multiprocessing
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from bidnn.errors import StoppedError, UserError
from bidnn.programs import stopping
from bidnn.programs.config import CONF, PROGRAMS, register
from bidnn.programs.help import explain
from bidnn.programs.messages import fixable, one_line, peer_lost, report_line
from bidnn.programs.processes import (
    can_go_on,
    first_of_its_machine,
    one_job,
    own_arguments,
    own_folders,
    program_of_this_process,
    rank,
    resuming_command,
    started_together,
)
from bidnn.programs.quoting import as_text, quoted, setting
from bidnn.programs.settings import find_classes, typed
from bidnn.programs.streams import outlive_streams
from bidnn.training.signals import take, taken_over

log = logging.getLogger(__name__)

HELP = ("-h", "--help")
WITH_VALUE = (
    *("--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn"),
    *("--cfg", "-c", "--package", "-p", "--experimental-rerun"),
)
"""Flags of Hydra that are followed by a value."""
INFO = ("--info", "-i")
"""Flags of Hydra that one of `INFOS` may follow."""
INFOS = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")

FIRST_WORD = {"index": "file", "search": "file", "export": "checkpoint"}
"""Programs whose first word is a file, and the setting that it is."""
NAMES = {"search": ("id",)}
"""Programs with settings whose values are names of rows, whatever they look like."""
OF_FOLDERS = ("report",)
"""Programs whose words without = are folders."""

FAULT = 70
"""The exit status of a fault of ours, as sysexits.h has it."""


def hydra_program(name: str) -> Callable[[], None]:
    """A program with Hydra's command line.

    Args:
        name: of the file in conf/, and of the module in this folder whose `run` takes the typed
            configuration; it is imported when it runs, so that help and refusals are quick.
    """
    composed, started = False, 0.0

    def job(config: DictConfig) -> Any:  # noqa: ANN401 — whatever a sweeper optimises
        nonlocal composed
        composed = True
        worker = stopping.is_worker(multiprocessing.current_process())
        # Until it trains with them, the first process waits for its peers, and would be killed by
        # Lightning if one of them left.
        peer = program_of_this_process() is not None
        if worker:
            take(stopping.note)
        try:
            with taken_over(stopping.note if worker or peer else stopping.leave):
                body = import_module(f"bidnn.programs.{name}")
            prepare_process()
            if worker and stopping.told() is not None:
                return None
            with taken_over(stopping.note if peer else stopping.at_once), one_job():
                return body.run(typed(config))
        except StoppedError as stop:
            say_stopped(name, stop)
            stopping.note(stop.signal)
            if worker:  # whose program waits for the other workers
                return None
            sys.exit(128 + stop.signal)
        except Exception as error:
            leave_no_empty_folder(started)
            if peer_lost(error):
                what = one_line(error).partition(". This is typically")[0]  # gloo's guesses
                say_stopped(name, f"another process of this run ended first ({what})")
                sys.exit(1)
            if sweeping():
                raise
            if fixable(error):
                log.error(one_line(error))
                log.debug("traceback", exc_info=True)
                sys.exit(1)
            log.exception("an error that was not foreseen")
            log.error(report_line())
            sys.exit(FAULT)

    job.__module__ = f"bidnn.programs.{name}"  # after which Hydra names the job and its log

    def main() -> None:
        nonlocal started
        started = time.time()
        outlive_streams()
        # Hydra would print its own message and exit; raised, the error gets its one line below.
        os.environ.setdefault("HYDRA_FULL_ERROR", "1")
        try:
            if any(argument in HELP for argument in sys.argv[1:]):
                given = flags_first(a for a in sys.argv[1:] if a not in HELP)
                sys.stdout.write(explain(name, given))
                return
            register()
            sys.argv[1:] = for_hydra(name, own_arguments(sys.argv[1:]))
            peer = program_of_this_process() is not None
            with taken_over(stopping.note if peer else stopping.end_jobs):
                try:
                    hydra.main(version_base="1.3", config_path=str(CONF), config_name=name)(job)()
                finally:
                    if (summary := sys.modules.get("bidnn.programs.summary")) is not None:
                        summary.summarize()
            if (number := stopping.told()) is not None:
                sys.exit(128 + number)
        except StoppedError as stop:
            sys.stderr.write(f"{stop}\n")
            sys.exit(128 + stop.signal)
        except Exception as error:  # noqa: BLE001 — our own faults keep their traceback
            line = one_line(error)
            if (number := stopping.told()) is not None:
                sys.exit(128 + number)
            if not fixable(error) and composed:
                traceback.print_exc()
                sys.stderr.write(f"{report_line()}\n")
                sys.exit(FAULT)
            if not fixable(error):
                # What Hydra raises over a command line can be anything, and is the user's to fix.
                line = f"the settings cannot be put together ({type(error).__name__}: {line})"
            sys.stderr.write(f"error: {line}\n")
            sys.exit(1)

    return main


def say_stopped(name: str, why: object) -> None:
    """Says why a job stops, and what to type to go on with it.

    The first process says it for all; on several machines the first of each, since what the others
    said, and who ended first, may not be seen from there.
    """
    if not first_of_its_machine():
        return
    log.warning("%s", why)
    if can_go_on(name):
        how = ", started as before by what starts the processes" if started_together() else ""
        log.warning("to go on%s: %s", how, resuming_command())


def named_file(program: str, arguments: list[str]) -> list[str]:
    """A command line whose first word may be the embedding, or model, of a program, or its runs."""
    if program in OF_FOLDERS:
        words = [a for a in arguments if "=" not in a and not a.startswith(("-", "+", "~"))]
        rest = [argument for argument in arguments if argument not in words]
        return [*([f"runs=[{','.join(map(quoted, words))}]"] if words else []), *rest]
    word = arguments[0] if arguments else ""
    if program not in FIRST_WORD or not word or "=" in word or word.startswith(("-", "+", "~")):
        return arguments
    return [setting(FIRST_WORD[program], word), *arguments[1:]]


def without_onnx_flag(arguments: Iterable[str]) -> list[str]:
    """A command line of `export`, in which `--onnx FOLDER` is `onnx=FOLDER`, as other tools say it.

    Raises:
        UserError: if no folder follows.
    """
    found: list[str] = []
    given = iter(arguments)
    for argument in given:
        flag, mark, value = argument.partition("=")
        if flag != "--onnx":
            found.append(argument)
            continue
        folder = value if mark else next(given, "")
        if not folder or folder.startswith("-") or (not mark and "=" in folder):
            raise UserError("--onnx: name a new folder for the graphs, onnx=FOLDER")
        found.append(setting("onnx", folder))
    return found


def for_hydra(program: str, arguments: list[str]) -> list[str]:
    """A command line as Hydra takes it."""
    if program == "export":
        arguments = without_onnx_flag(arguments)
    flags, settings = apart(named_file(program, arguments))
    check_flags(flags)
    names = NAMES.get(program, ())
    if program != "tune":
        return [*flags, *(as_text(setting, names) for setting in settings)]
    from bidnn.programs.tuning.arguments import as_hydra, is_range

    return [*flags, *as_hydra(s if is_range(s) else as_text(s) for s in settings)]


def check_flags(flags: Iterable[str]) -> None:
    """Refuses settings with dashes before them, of which Hydra takes some for flags of its own.

    Raises:
        UserError: naming the setting as it is written.
    """
    keys = {field.name for kind in PROGRAMS.values() for field in fields(kind)}
    keys |= {path.name for path in CONF.iterdir() if path.is_dir()}
    for flag in flags:
        key, _, value = flag.removeprefix("--").partition("=")
        if flag.startswith("--") and key.split(".")[0] in keys:
            raise UserError(f"{flag}: settings have no dashes: {key}={value or 'VALUE'}")


def flags_first(arguments: Iterable[str]) -> list[str]:
    """A command line with its flags in front: argparse takes settings in one piece."""
    flags, settings = apart(arguments)
    return [*flags, *settings]


def apart(arguments: Iterable[str]) -> tuple[list[str], list[str]]:
    """The flags of a command line, and its settings."""
    flags, settings = [], []
    given = iter(_with_info(arguments))
    for argument in given:
        if argument.startswith("-"):
            flags += [argument, *([next(given, "")] if argument in WITH_VALUE else [])]
        else:
            settings.append(argument)
    return flags, settings


def _with_info(arguments: Iterable[str]) -> list[str]:
    """A command line whose `--info` says of what in one piece; of all, if nothing does."""
    found: list[str] = []
    for argument in arguments:
        if found and found[-1] in INFO:
            found[-1] = f"--info={argument if argument in INFOS else 'all'}"
            if argument in INFOS:
                continue
        found.append(argument)
    return [*found[:-1], "--info=all"] if found and found[-1] in INFO else found


def prepare_process() -> None:
    """What a job needs of its process, which may be one that a sweep's launcher started.

    After Lightning was imported, if it is at all: its import sets its log to talk.
    """
    outlive_streams()  # in a worker, too
    logging.raiseExceptions = False  # a log that cannot be written is no reason to stop
    threading.excepthook = _log_thread
    for name in ("lightning.pytorch", "lightning.fabric"):  # banners and tips
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    if rank():
        logging.getLogger().setLevel(logging.WARNING)  # the first process says the rest
    find_classes(own_folders())


def leave_no_empty_folder(started: float) -> None:
    """Removes the run's folder, if it was made since `started` and nothing is in it."""
    hydra_config = HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir)
    if rank() or folder == Path.cwd() or not folder.is_dir():
        return
    named = any(o.startswith("hydra.run.dir=") for o in hydra_config.overrides.hydra)
    if any(folder.iterdir()) or folder.stat().st_ctime < started:
        return
    logger = logging.getLogger()
    for handler in list(logger.handlers):  # a log that was not begun would want its folder
        if isinstance(handler, logging.FileHandler):
            logger.removeHandler(handler)
    with suppress(OSError, ValueError):  # a folder that something is in stays, or is elsewhere
        folder.rmdir()
        for above in () if named else folder.relative_to(Path.cwd()).parents[:-1]:
            above.rmdir()


def sweeping() -> bool:
    """Whether this is one run of several, `-m`."""
    return HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN


def _log_thread(error: threading.ExceptHookArgs) -> None:
    name = error.thread.name if error.thread else "a thread"
    log.error("%s ended: %s", name, error.exc_value)
