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
    text = re.sub(r"(\\*)\$\{", lambda found: 2 * found[1] + r"\${", value)  # no interpolation
    try:
        plain = OverridesParser.create().parse_override(f"{key}={text}").value() == text
    except HydraException:
        plain = False
    return shlex.quote(f"{key}={text if plain else QuotedString(text, Quote.single).with_quotes()}")
