"""How every program starts and fails: one clear line for a user's mistake, a traceback for ours."""

import functools
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bidnn.callbacks.run_command import CommandFailedError
from bidnn.programs.config import register
from bidnn.training import quiet_lightning

log = logging.getLogger(__name__)

CONF = Path(__file__).resolve().parents[2] / "conf"
USER_ERRORS = (ValueError, OSError, CommandFailedError, HydraException, OmegaConfBaseException)


def hydra_program(config_name: str) -> Callable[[Callable[[Any], Any]], Callable[[], None]]:
    """Makes a function of a typed configuration into a program with Hydra's command line.

    Args:
        config_name: the file in conf/.
    """

    def decorate(body: Callable[[Any], Any]) -> Callable[[], None]:
        @functools.wraps(body)
        def job(config: DictConfig) -> Any:  # noqa: ANN401 — whatever a sweeper optimises
            try:
                return body(OmegaConf.to_object(config))
            except USER_ERRORS as error:
                if sweeping():
                    raise
                log.error(one_line(error))
                log.debug("traceback", exc_info=True)
                sys.exit(1)

        @functools.wraps(body)
        def main() -> None:
            register()
            quiet_lightning()
            # Hydra would print its own message and exit; raised, the error gets its one line below.
            os.environ.setdefault("HYDRA_FULL_ERROR", "1")
            try:
                hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(
                    job
                )()
            except USER_ERRORS as error:
                sys.stderr.write(f"error: {one_line(error)}\n")
                sys.exit(1)

        return main

    return decorate


def sweeping() -> bool:
    """Whether this is one run of several, `-m`."""
    return HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN


def one_line(error: BaseException) -> str:
    """The message of an error and of what caused it, on one line."""
    parts = [str(error)]
    if isinstance(error, HydraException) and error.__cause__ is not None:
        parts.append(str(error.__cause__))
    lines = [line.strip() for part in parts for line in part.splitlines()]
    noise = ("full_key:", "object_type=", "reference_type=", "To append to your config")
    seen = dict.fromkeys(line for line in lines if line and not line.startswith(noise))
    return "; ".join(seen) or type(error).__name__
