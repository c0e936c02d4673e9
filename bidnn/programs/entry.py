"""How every program starts and fails: one clear line for a user's mistake, a traceback for ours."""

import functools
import logging
import os
import re
import sys
import threading
from collections.abc import Callable
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bidnn.errors import UserError
from bidnn.programs.config import SCHEMAS, register
from bidnn.programs.processes import one_job, own_arguments, rank, resuming_command
from bidnn.training.callbacks.checkpoints import StoppedError
from bidnn.training.callbacks.run_command import CommandFailedError
from bidnn.training.fit import quiet_lightning

log = logging.getLogger(__name__)

CONF = Path(__file__).resolve().parents[2] / "conf"
SWEEP = ("-m", "--multirun")
USER_ERRORS = (
    UserError,
    OSError,
    CommandFailedError,
    MisconfigurationException,
    HydraException,
    OmegaConfBaseException,
)


def hydra_program(config_name: str) -> Callable[[Callable[[Any], Any]], Callable[[], None]]:
    """Makes a function of a typed configuration into a program with Hydra's command line.

    Args:
        config_name: the file in conf/.
    """

    def decorate(body: Callable[[Any], Any]) -> Callable[[], None]:
        composed = False

        @functools.wraps(body)
        def job(config: DictConfig) -> Any:  # noqa: ANN401 — whatever a sweeper optimises
            nonlocal composed
            composed = True
            logging.raiseExceptions = False  # a log that cannot be written is no reason to stop
            threading.excepthook = _log_thread
            quiet_lightning()  # here, because a sweep's launcher may run jobs in other processes
            logging.captureWarnings(capture=True)
            if rank():
                logging.getLogger().setLevel(logging.WARNING)  # the first process says the rest
            try:
                with one_job():
                    return body(typed(config))
            except StoppedError as stop:
                log.warning("%s", stop)
                log.warning("to go on: %s", resuming_command())
                sys.exit(128 + stop.signal)
            except USER_ERRORS as error:
                if sweeping():
                    raise
                log.error(one_line(error))
                log.debug("traceback", exc_info=True)
                sys.exit(1)

        @functools.wraps(body)
        def main() -> None:
            register()
            # Hydra would print its own message and exit; raised, the error gets its one line below.
            os.environ.setdefault("HYDRA_FULL_ERROR", "1")
            try:
                # argparse takes settings in one piece: a flag between them would end it.
                sys.argv[1:] = sorted(own_arguments(sys.argv[1:]), key=lambda a: a not in SWEEP)
                hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(
                    job
                )()
            except KeyboardInterrupt:
                sys.stderr.write("interrupted\n")
                sys.exit(130)
            except Exception as error:
                # What Hydra raises over a command line can be anything, and is the user's to mend.
                line = one_line(error)
                if not isinstance(error, USER_ERRORS):
                    if composed:
                        raise
                    line = f"the settings cannot be put together ({type(error).__name__}: {line})"
                sys.stderr.write(f"error: {line}\n")
                sys.exit(1)

        return main

    return decorate


def sweeping() -> bool:
    """Whether this is one run of several, `-m`."""
    return HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN


def _log_thread(error: threading.ExceptHookArgs) -> None:
    name = error.thread.name if error.thread else "a thread"
    log.error("%s ended: %s", name, error.exc_value)


def typed(config: DictConfig) -> Any:  # noqa: ANN401 — one of the configuration classes
    """The dataclasses of a configuration, a key forced in with `+` refused.

    Raises:
        ValueError: naming the key, or what a cross-field rule says.
    """
    try:
        return OmegaConf.to_object(config)
    except AttributeError as error:
        raise UserError(str(error).split(".")[0]) from error


def one_line(error: BaseException) -> str:
    """The message of an error and of what caused it, on one line."""
    parts = [str(error)]
    if isinstance(error, HydraException) and error.__cause__ is not None:
        parts.append(str(error.__cause__))
    lines = [line.strip() for part in parts for line in part.splitlines()]
    noise = ("full_key:", "object_type=", "reference_type=", "To append to your config")
    seen = dict.fromkeys(line for line in lines if line and not line.startswith(noise))
    return ("; ".join(seen) or type(error).__name__) + _suggestion(error)


def _suggestion(error: BaseException) -> str:
    """The known key that is nearest to one that is not known, if the error is about one."""
    found = re.search(r"(?:Key|attribute) '(\w+)'", f"{error} {error.__cause__}")
    if found is None:
        return ""
    keys = {field.name for schema in SCHEMAS for field in fields(schema)}
    near = get_close_matches(found[1], keys, n=1)
    return f"; did you mean {near[0]}?" if near else ""
