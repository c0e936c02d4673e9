"""Settings put together from conf/, without Hydra's program: for Python, `compare` and help."""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bidnn.errors import UserError
from bidnn.programs.config import CONF, register
from bidnn.programs.messages import nearest, one_line
from bidnn.programs.quoting import quoted
from bidnn.training.config import TrainConfig


def compose_training(
    choices: Sequence[str],
    values: Mapping[str, Any],
    *,
    words: Mapping[str, str] | None = None,
    folders: Sequence[Path] = (),
) -> TrainConfig:
    """What `bidnn train` would compose; a Hydra program that calls this is not disturbed.

    Args:
        choices: as on the command line, such as `experiment=incomplete`.
        values: by dotted key, of any type that the key takes.
        words: how the caller writes a key, for messages.
        folders: of the user's own settings, as `--config-dir` names one.

    Raises:
        UserError: naming the setting that is not known, or its value.
    """
    config = compose_program("train", choices, folders)
    for key, value in values.items():
        _set(config, key, value, (words or {}).get(key, key))
    return finished(config)


def split_settings(
    settings: Mapping[str, Any], folders: Sequence[Path] = ()
) -> tuple[list[str], dict[str, Any]]:
    """Choices of a group, as on the command line, and values of single keys.

    Args:
        settings: by key or group.
        folders: of the user's own settings, with choices and groups besides ours.

    Raises:
        UserError: if a choice is no name of a file.
    """
    choices: list[str] = []
    values: dict[str, Any] = {}
    for key, value in settings.items():
        group = any((folder / key).is_dir() for folder in (CONF, *folders))
        if not isinstance(value, str | int | float) or not group:
            values[key] = value
        elif isinstance(value, str) and value.replace("_", "").isalnum():
            choices.append(f"{key}={value}")
        else:
            raise UserError(f"{key}={value!r}: name a file of conf/{key}")
    return choices, values


def compose_program(
    name: str, overrides: Sequence[str], folders: Sequence[Path] = ()
) -> DictConfig:
    """What a program would compose; a Hydra program that calls this is not disturbed.

    Args:
        name: of the program.
        overrides: as on the command line.
        folders: of the user's own settings; their classes are found, too.

    Raises:
        UserError: naming what is wrong.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder of settings")
    find_classes(folders)
    paths = ",".join(quoted(f"file://{folder.resolve()}") for folder in folders)
    own = [f"hydra.searchpath=[{paths}]"] if folders else []
    before = Singleton.get_state()
    try:
        GlobalHydra.instance().clear()
        register()
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose(name, [*overrides, *own])
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(one_line(error)) from error
    finally:
        Singleton.set_state(before)


def find_classes(folders: Iterable[str | Path]) -> None:
    """Lets classes be found that lie beside the settings that name them."""
    for folder in folders:
        path = str(Path(folder).resolve())
        if path not in sys.path:
            sys.path.append(path)


def typed(config: DictConfig) -> Any:  # noqa: ANN401 — one of the configuration classes
    """The dataclasses of a configuration, a key forced in with `+` refused.

    Raises:
        UserError: naming the key, or what a cross-field rule says.
    """
    try:
        return OmegaConf.to_object(config)
    except AttributeError as error:
        forced = _forced(config)
        if forced is None:
            raise UserError(str(error).split(".")[0]) from error
        key, known = forced
        hint = nearest(key.rpartition(".")[2], known)
        raise UserError(f"+{key}: no such setting{hint}") from error


def _forced(config: DictConfig, above: str = "") -> tuple[str, list[str]] | None:
    """A key that a dataclass of a configuration does not have, and those that it has; or None."""
    kind = OmegaConf.get_type(config)
    known = [field.name for field in fields(kind)] if is_dataclass(kind) else None
    for given, value in config.items_ex(resolve=False):
        name = str(given)
        key = f"{above}{name}"
        if known is not None and name not in known:
            return key, known
        if isinstance(value, DictConfig) and not value._is_none():
            found = _forced(value, f"{key}.")
            if found is not None:
                return found
    return None


def finished(config: DictConfig) -> TrainConfig:
    """The dataclasses of a composed training.

    Raises:
        UserError: naming what is wrong.
    """
    try:
        training = typed(config)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(one_line(error)) from error
    assert isinstance(training, TrainConfig)
    return training


def _set(config: DictConfig, key: str, value: Any, word: str) -> None:  # noqa: ANN401 — of any setting
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    free = parent in ("callbacks", "logger") or parent.startswith(("callbacks.", "logger."))
    if not isinstance(node, DictConfig) or (name not in node and not free):
        known = [str(k) for k in node] if isinstance(node, DictConfig) else [str(k) for k in config]
        near = get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}"
        raise UserError(f"{word}: no such setting{hint}")
    if isinstance(value, np.generic):
        value = value.item()  # OmegaConf takes Python's own numbers only
    try:
        OmegaConf.update(config, key, value, force_add=free)
    except OmegaConfBaseException as error:
        given = value if isinstance(value, str) else repr(value)
        why = str(error).splitlines()[0].strip()
        choices = re.search(r"expected one of \[(.*)\]", why)
        why = f"choose one of {choices[1]}" if choices else why
        raise UserError(f"{word}={given}: {why}") from error
