"""What is known of single settings: type, value, meaning and choices, from the docstrings."""

import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from bidnn.errors import UserError
from bidnn.programs.config import GROUPS, PROGRAMS

WIDTH = 100
WORDS = {bool: "true or false", int: "whole number", float: "number", str: "text", NoneType: "null"}


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a setting.

    Attributes:
        key: its name, with dots.
        value: what it has unless set, as one would type it; empty where that is no single value.
        kind: its type in words; empty where any will do.
        texts: what it means, a paragraph each.
    """

    key: str
    value: str
    kind: str
    texts: tuple[str, ...]

    def lines(self) -> list[str]:
        """In lines of text."""
        value = f"={self.value}" if self.value else ""
        lines = [self.key + value + (f"   ({self.kind})" if self.kind else "")]
        for text in self.texts:
            lines += textwrap.wrap(text, WIDTH, initial_indent="    ", subsequent_indent="    ")
        return lines


class Settings:
    """The settings of a program, each with its documentation."""

    def __init__(
        self, program: str, config: DictConfig | None, choices: Mapping[str, Mapping[str, Path]]
    ) -> None:
        """Looks nothing up yet.

        Args:
            program: train, embed, convert or compare.
            config: what it composes, for the values to show; None: they are not shown.
            choices: the groups, and by name the files that can be chosen of each.
        """
        self.program, self.config, self.choices = program, config, choices

    def explain(self, key: str) -> str:
        """A setting or a group, in lines of text.

        Raises:
            UserError: if there is no such setting.
        """
        lines: list[str] = []
        if key in self.choices:
            lines += [f"{key}: choose by {key}=CHOICE"]
            lines += [f"  {name:18}  {note(path)}" for name, path in self.choices[key].items()]
        else:
            lines += self.entry(key).lines()
        inner = list(self.inner(key))
        if inner:
            lines += ["", "Its settings, with the values that they have unless set:"]
            for name in inner:
                lines += textwrap.indent("\n".join(self.entry(name).lines()), "  ").splitlines()
        return "\n".join(lines) + "\n"

    def texts(self, key: str) -> list[str]:
        """What the docstrings say of a setting, once for each meaning that it can have.

        Raises:
            UserError: if there is no such setting.
        """
        name = key.rpartition(".")[2]
        found = [attributes(kind)[name] for kind in self._parents(key) if name in attributes(kind)]
        if name == "_target_":
            found = ["the class that is made of these settings"]
        elif not found and (target := self._target(key)) is not None:
            found = [summary(target)]
        if not found:
            raise UserError(f"{key}: no such setting; bidnn {self.program} --help lists the groups")
        return list(dict.fromkeys(found))

    def entry(self, key: str) -> Entry:
        """What is known of a setting.

        Raises:
            UserError: if there is no such setting.
        """
        texts, name = self.texts(key), key.rpartition(".")[2]
        hints = [hint for k in self._parents(key) if (hint := _hints(k).get(name)) is not None]
        parts = []
        for text in texts:
            meanings = (summary(e, whole=True) for e in _enums(hints[:1]) if "see " in text)
            parts += [text, *meanings]
        value = "" if self.config is None else _shown(self.config, key)
        return Entry(key, value, _kind(hints[0]) if hints else "", tuple(parts))

    def _parents(self, key: str) -> list[type]:
        """The classes whose docstrings may describe a setting."""
        group, _, _ = key.rpartition(".")
        if not group:
            return [PROGRAMS[self.program]]
        own = _hints(PROGRAMS[self.program]).get(group)
        if isinstance(own, type) and is_dataclass(own):
            return [own]
        known = GROUPS.get(group, {}) if group in self.choices else {}
        target = self._target(group)
        return [*known.values()] if target is None else [target]

    def _target(self, key: str) -> type | None:
        """The class that a node makes, as it is composed or as a choice of its group has it."""
        group, _, name = key.rpartition(".")
        nodes = [_at(self.config, key)]
        nodes += [_at(OmegaConf.load(path), name) for path in self.choices.get(group, {}).values()]
        for node in nodes:
            if isinstance(node, DictConfig) and "_target_" in node:
                return get_class(node["_target_"])
        return None

    def inner(self, key: str) -> Iterator[str]:
        """The names of the settings in a group, or of an object."""
        node = _at(self.config, key) if key.split(".")[0] in self.choices else None
        kinds = self._parents(f"{key}.any")
        names = [field.name for kind in kinds if is_dataclass(kind) for field in fields(kind)]
        if isinstance(node, DictConfig):  # a text that no class knows is an entry, no setting
            names += [str(name) for name in node if kinds or not isinstance(node[name], str)]
        yield from (f"{key}.{name}" for name in dict.fromkeys(names))


def attributes(kind: type) -> dict[str, str]:
    """What the docstrings of a class and of its bases say of its attributes and arguments."""
    found: dict[str, str] = {}
    for part in reversed(kind.__mro__):
        for doc in (part.__doc__, part.__dict__.get("__init__", part).__doc__):
            found |= _entries(inspect.cleandoc(doc or ""))
    return found


def _entries(doc: str) -> dict[str, str]:
    """The first paragraph of each entry in the sections Attributes and Args."""
    found: dict[str, str] = {}
    inside, name = False, ""
    for line in doc.splitlines():
        depth = len(line) - len(line.lstrip())
        entry = re.match(r" {4}\*{0,2}(\w+)(?: \([^)]*\))?: ?(.*)", line)
        if line and not depth:
            inside, name = line.strip() in ("Attributes:", "Args:"), ""
        elif inside and entry and depth == 4:
            name, found[entry[1]] = entry[1], entry[2].strip()
        elif not line.strip():
            name = ""
        elif name:
            found[name] = f"{found[name]} {line.strip()}".strip()
    return found


def summary(kind: type, *, whole: bool = False) -> str:
    """The first paragraph of a class's docstring, or all of them."""
    doc = inspect.cleandoc(kind.__doc__ or "")
    return " ".join((doc if whole else doc.split("\n\n")[0]).split())


def first_clause(text: str) -> str:
    """A text up to the first stop."""
    return re.split(r"[;:.] ", text + " ")[0].rstrip(".;: ")


def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind) if is_dataclass(kind) else {}


def _enums(hints: list[Any]) -> list[type[Enum]]:
    parts = [part for hint in hints for part in (hint, *get_args(hint))]
    return [part for part in parts if isinstance(part, type) and issubclass(part, Enum)]


def _kind(hint: Any) -> str:  # noqa: ANN401 — any type
    """A type in words."""
    if get_origin(hint) is list:
        return f"list, each {_kind(get_args(hint)[0])}"
    if isinstance(hint, type) and issubclass(hint, Enum):
        return ", ".join(str(member.value) for member in hint)
    if get_args(hint) and get_origin(hint) is not dict:
        return " or ".join(_kind(part) for part in get_args(hint))
    return WORDS.get(hint, "")


def _at(config: Any, key: str) -> Any:  # noqa: ANN401 — a node or a value
    """What is under a dotted key, None if nothing is, or what refers to another setting."""
    for part in key.split(".") if key else ():
        absent = not isinstance(config, DictConfig) or part not in config
        if absent or OmegaConf.is_interpolation(config, part):
            return None
        config = config[part]
    return config


def _shown(config: DictConfig, key: str) -> str:
    """A value as one would type it; nothing for what is no single value."""
    parent, _, name = key.rpartition(".")
    node = _at(config, parent)
    if not isinstance(node, DictConfig) or name not in node or OmegaConf.is_missing(node, name):
        return ""
    raw = OmegaConf.to_container(node, resolve=False, enum_to_str=True)
    assert isinstance(raw, dict)
    value = raw[name]
    if value is None or isinstance(value, bool):
        return {True: "true", False: "false", None: "null"}[value]
    return "" if isinstance(value, dict) else str(value)


def note(path: Path) -> str:
    """What a choice is: its file's opening comment, or else what it sets."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("# @package")]
    comment = []
    for line in lines:
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# "))
    if comment:
        return re.split(r"(?<=\.) (?=[A-Z])", " ".join(comment))[0]
    content = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(content, dict)
    bases = content.pop("defaults", [])
    sets = [f"{k!s}" if isinstance(v, dict) else f"{k!s}: {v}" for k, v in content.items()]
    schemas = GROUPS.get(path.parent.name, {})
    kinds = [schemas[base] for b in bases if (base := str(b).removesuffix("_schema")) in schemas]
    return ", ".join(sets) or "; ".join(summary(kind) for kind in kinds)
