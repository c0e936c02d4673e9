"""Settings as they are typed: quoted for Hydra's grammar, and for the shell around it."""

import re
import shlex

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException


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


def unescaped(value: str) -> str:
    """A text as it was before `quoted`, of what Hydra's grammar makes of that."""
    return re.sub(r"(\\*)\\\$\{", lambda found: found[1][: len(found[1]) // 2] + "${", value)


def quoted(value: str) -> str:
    """Any text in quotes of Hydra's grammar, for a place within a list, say."""
    text = re.sub(r"(\\*)\$\{", lambda found: 2 * found[1] + r"\${", value)  # no interpolation
    return str(QuotedString(text, Quote.single).with_quotes())
