"""Draws facts: one HTML file that needs nothing else, its data inside it as JSON."""

import html
from collections.abc import Mapping
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from bidnn.files import as_json, whole_file

SCRIPTS = ("elements.js", "charts.js", "map.js", "run.js", "comparison.js", "start.js")
DIGITS = 6


def write_page(path: Path, facts: Mapping[str, Any]) -> None:
    """Writes a page, whole or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    content = page(facts).encode()
    with whole_file(path) as file:
        file.write(content)


def page(facts: Mapping[str, Any]) -> str:
    """The page as text; whatever an id or a label holds is data in it, never markup."""
    folder = files("bidnn.report") / "page"
    read = {
        name: (folder / name).read_text("utf-8") for name in ("page.html", "page.css", *SCRIPTS)
    }
    parts = {
        "TITLE": html.escape(str(facts["title"])),
        "STYLE": read["page.css"],
        "SCRIPT": "\n".join(read[name] for name in SCRIPTS),
        "DATA": _data({**facts, "version": version("bidnn")}),
    }
    text = ""
    for piece in read["page.html"].split("@@"):
        text += parts.get(piece, piece)
    return text


def _data(facts: Mapping[str, Any]) -> str:
    """JSON that no parser of HTML takes for the end of the script, or for anything else."""
    text = as_json(_short(facts))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _short(value: Any) -> Any:  # noqa: ANN401 — plain data
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {str(key): _short(part) for key, part in value.items()}
    return [_short(part) for part in value] if isinstance(value, list | tuple) else value
