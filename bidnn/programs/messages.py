"""What a program says of an error: one line of the user's mistake, a traceback of our own fault."""

import re
from collections.abc import Iterable
from dataclasses import fields
from difflib import get_close_matches
from importlib.metadata import version
from typing import Any

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from bidnn.errors import CommandFailedError, UserError
from bidnn.programs.config import PROGRAMS
from bidnn.programs.quoting import how_to_quote
from bidnn.training.config import TrainConfig

USER_ERRORS = (
    UserError,
    OSError,
    CommandFailedError,
    HydraException,
    OmegaConfBaseException,
)
USAGE = {
    "embed": "bidnn embed checkpoint=RUN data=…",
    "export": "bidnn export RUN pretrained=FOLDER, or onnx=FOLDER",
    "index": "bidnn index FILE",
    "search": "bidnn search FILE id=ID, or checkpoint=RUN with data=…, first=… or second=…",
}
"""How programs are called that have a setting without a default, as an answer to its lack."""
NOISE = ("full_key:", "object_type=", "reference_type=", "To append to your config")


def fixable(error: BaseException) -> bool:
    """Whether an error is the user's to fix, and its message says how."""
    return isinstance(error, USER_ERRORS) or type(error).__name__ == "MisconfigurationException"


def peer_lost(error: BaseException) -> bool:
    """Whether an error is but the end of another process of the same training, seen from here."""
    return type(error).__name__ in ("DistBackendError", "DistNetworkError") or (
        isinstance(error, RuntimeError)
        and any(sign in str(error) for sign in ("closed by peer", "reset by peer", "/gloo/"))
    )


def report_line() -> str:
    """What follows the traceback of a fault of ours."""
    return (
        f"This is a fault of bidnn {version('bidnn')}, unless the traceback ends in code of your "
        "own: please report it, with the lines above and the command."
    )


def one_line(error: BaseException) -> str:
    """The message of an error and of what caused it, on one line."""
    if isinstance(error, MissingConfigException) and (choices := error.options) is not None:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        known = ", ".join(name for name in choices if not name.endswith("_schema"))
        return f"{group}={choice}: choose one of {known}"
    if isinstance(error, OverrideParseException):
        return how_to_quote(error.override)
    if isinstance(error, MissingMandatoryValue):
        return _not_given(error)
    parts = [str(error)]
    if isinstance(error, HydraException) and error.__cause__ is not None:
        parts.append(str(error.__cause__))
    lines = [line.strip() for part in parts for line in part.splitlines()]
    if lines and (named := re.match(r"You must specify '(\w+)'", lines[0])) is not None:
        options = [line for line in lines[1:] if line.isidentifier()]
        known = ", ".join(dict.fromkeys(o for o in options if not o.endswith("_schema")))
        return f"{named[1]} is not given; {named[1]}=… with one of {known}"
    seen = dict.fromkeys(line for line in lines if line and not line.startswith(NOISE))
    return ("; ".join(seen) or type(error).__name__) + _suggestion(error)


def _not_given(error: MissingMandatoryValue) -> str:
    """The setting that has no value, and how the program is called with it."""
    program = next((name for name, kind in PROGRAMS.items() if kind is error.object_type), "")
    return f"{error.full_key} is not given; {USAGE.get(program, f'add {error.full_key}=…')}"


def _suggestion(error: BaseException) -> str:
    """The way out: null for a key to delete; the key that is nearest to one that is not known."""
    if "does not support deletion" in f"{error} {error.__cause__}":
        return "; leave it out, or set it to null"
    found = re.search(r"Key '(\w+)'", f"{error} {error.__cause__}")
    if found is None or "did you mean" in str(error):
        return ""
    if "'CompareConfig'" in f"{error} {error.__cause__}" and found[1] in _names(TrainConfig):
        typed = re.search(r"Could not override '([^']+)'", str(error))
        return f"; for all methods that are trained: common=[{typed[1] if typed else found[1]}=…]"
    known = [key for key in _keys(error) or _keys(error.__cause__) if key != "_target_"]
    return nearest(found[1], known) or (f"; there are {', '.join(known)}" if known else "")


def nearest(key: str, known: Iterable[str]) -> str:
    """What to type in place of a key that is not known; empty where nothing is near."""
    near = get_close_matches(key, [name for name in known if name != key], n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _keys(error: BaseException | None) -> list[str]:
    """The keys beside one that is not known, of what an error of OmegaConf is about."""
    node = getattr(error, "parent_node", None)
    return [str(key) for key in node] if isinstance(node, DictConfig) else []


def _names(schema: type[Any]) -> set[str]:
    return {field.name for field in fields(schema)}
