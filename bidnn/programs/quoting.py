"""Settings as they are typed: quoted for Hydra's grammar, and for the shell around it."""

import re
import shlex
from collections.abc import Collection

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

FUNCTIONS = "|".join(OverridesParser.create().functions.functions)
OF_GRAMMAR = re.compile(rf"\s*(?:['\"\[{{]|(?:{FUNCTIONS})\()|.*(?:,|\$\{{)", re.DOTALL)
"""What a value of Hydra's grammar has, and nobody but its writer can quote: quotes of its own,
brackets, functions, commas that may sweep, interpolations."""
PLAIN_LIST = re.compile(r"\s*\[([^\[\]{}()'\"\\$]+)\]\s*")


def typed_setting(key: str, value: str) -> str:
    """`key=value` to paste into a shell, for a program that is to get just this text.

    Args:
        key: such as `data.path`.
        value: any text; quotes appear only where a plain one would be read as something else.
    """
    return shlex.quote(setting(key, value))


def setting(key: str, value: str) -> str:
    """As `typed_setting`, for an argument that no shell reads."""
    try:
        plain = OverridesParser.create().parse_override(f"{key}={value}").value() == value
    except HydraException:
        plain = False
    return f"{key}={value if plain and '${' not in value else quoted(value)}"


def as_text(argument: str, names: Collection[str] = ()) -> str:
    """A setting as it was typed, its value in quotes where Hydra's grammar takes no such text.

    Args:
        argument: such as `data.path=näme.npz`; what the grammar takes stays as it is.
        names: keys whose values are names, also those that the grammar would take for a number,
            null or true, and each of a list.
    """
    key, mark, value = argument.partition("=")
    if not mark or not value or argument.startswith("~"):
        return argument
    if key in names and (listed := PLAIN_LIST.fullmatch(value)) is not None:
        parts = [quoted(part.strip(), Quote.double) for part in listed[1].split(",")]
        return f"{key}=[{','.join(parts)}]"
    if OF_GRAMMAR.match(value) or (key not in names and _parses(argument)):
        return argument
    text = f"{key}={quoted(value, Quote.double)}"  # which a shell's quotes go around
    return text if _parses(text) else argument


def how_to_quote(override: str) -> str:
    """What is wrong with a setting that Hydra's grammar does not take, and how it is typed."""
    key, mark, value = override.partition("=")
    shown = " ".join(override.split())
    if not mark:
        return f"{shown}: settings are written KEY=VALUE"
    if not _parses(f"{key}=value"):
        return f"{shown}: no such setting as {key or 'that without a name'}"
    inner = {"[": '["…","…"]', "{": '{NAME: "…"}'}.get(value.strip()[:1], '"…"')
    inside = ", a quote within it with a backslash before it" if value.strip()[:1] in "'\"" else ""
    return f"{shown}: text with such characters is put in quotes{inside}: '{key}={inner}'"


def _parses(override: str) -> bool:
    """Whether it is one of Hydra's grammar."""
    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        return False
    return True


def unescaped(value: str) -> str:
    """A text as it was before `quoted`, of what Hydra's grammar makes of that."""
    return re.sub(r"(\\*)\\\$\{", lambda found: found[1][: len(found[1]) // 2] + "${", value)


def quoted(value: str, quote: Quote = Quote.single) -> str:
    """Any text in quotes of Hydra's grammar, for a place within a list, say."""
    text = re.sub(r"(\\*)\$\{", lambda found: 2 * found[1] + r"\${", value)  # no interpolation
    return str(QuotedString(text, quote).with_quotes())
