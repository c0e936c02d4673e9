"""What the site has beyond the files of docs/: first page, settings, changes, pages added later.

mkdocs calls these functions by their names (mkdocs.yml).
"""

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from bidnn.data.sources import Source
from bidnn.programs.config import CONF, GROUPS, PROGRAMS
from bidnn.programs.docs import Entry, Settings, note, summary
from bidnn.programs.help import groups
from bidnn.programs.settings import compose_program

ROOT = CONF.parent
SETTINGS = "a page of all settings"
PICTURE = re.compile(r"<picture>.*?</picture>", re.S)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Adds the pages that nav does not name to the guides, by name."""
    assert config.nav is not None
    guides: list[str] = next(part["Guides"] for part in config.nav if "Guides" in part)
    named = set(re.findall(r"[\w-]+\.md", str(config.nav)))
    guides += [path.name for path in sorted(pages()) if path.name not in named]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are made, or lie elsewhere: the first one, the settings, the changes."""
    made = {"index.md": as_page("README.md"), "changelog.md": as_page("CHANGELOG.md")}
    for name, text in (made | {"settings.md": settings_page()}).items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Leads to the page of settings, which is none of the repository's, from where it is named."""
    return markdown.replace(SETTINGS, f"[{SETTINGS}](settings.md)")


def pages() -> Iterator[Path]:
    """The pages in docs/."""
    return (ROOT / "docs").glob("*.md")


def as_page(name: str) -> str:
    """A file of the repository's root, its links and its picture as the site has them."""
    text = (ROOT / name).read_text().replace("](docs/", "](")
    text = text.replace("](CHANGELOG.md)", "](changelog.md)")
    text = re.sub(r"\[([^\]]+)\]\((?:LICENSE|CITATION\.cff)\)", r"\1", text)
    light, dark = "network.svg#only-light", "network-dark.svg#only-dark"
    return PICTURE.sub(f"![The network]({light})![The network]({dark})", text)


def settings_page() -> str:
    """All settings of all programs, from the docstrings and conf/, as `--help KEY` says them."""
    lines = [
        "# Settings",
        "",
        "Every setting, its value unless set, and what it means; `bidnn PROGRAM --help KEY` says "
        "the same in a terminal. Settings are written `KEY=VALUE`, choices `GROUP=CHOICE`; from "
        "Python, dots are two underscores (`BiDNN(optimizer__lr=0.01)`).",
    ]
    for program in PROGRAMS:
        lines += ["", f"## bidnn {program}", "", summary(PROGRAMS[program]), ""]
        choices = groups(program)
        overrides = ["data=digits"] if "data" in choices else []
        settings = Settings(program, compose_program(program, overrides), choices)
        own = [field.name for field in fields(PROGRAMS[program])]
        if program == "doctor":
            own = ["seed", "output"]
            lines += ["All settings of [`bidnn train`](#bidnn-train), and:", ""]
        single = [key for key in own if key not in choices and key != "run_dir"]
        lines += _table(settings.entry(key) for key in single if not list(settings.inner(key)))
        for key in single:
            lines += _table(settings.entry(inner) for inner in settings.inner(key))
        if program == "train":
            for group in choices:
                lines += _group(settings, group)
    return "\n".join(lines) + "\n"


def _group(settings: Settings, group: str) -> Iterator[str]:
    """The choices of a group, and its settings; those of `data` by source."""
    yield from ["", f"### {group}", "", "| choice | what it is |", "|---|---|"]
    for name, path in settings.choices[group].items():
        yield f"| `{group}={name}` | {_cell(note(path))} |"
    yield ""
    shared = {field.name for field in fields(Source)} if group == "data" else None
    entries = [settings.entry(key) for key in settings.inner(group)]
    if shared is not None:
        entries = [entry for entry in entries if entry.key.rpartition(".")[2] in shared]
    yield from _table(entries)
    if shared is None:
        return
    for name in settings.choices[group]:
        own = Settings("train", compose_program("train", [f"data={name}"]), settings.choices)
        kind: Any = GROUPS["data"].get(name)
        keys = [field.name for field in fields(kind) if field.name not in shared] if kind else []
        if keys:
            yield from ["", f"#### data={name}", ""]
            yield from _table(own.entry(f"data.{key}") for key in keys)


def _table(entries: Iterator[Entry] | list[Entry]) -> Iterator[str]:
    """A row for each setting; nothing for none."""
    rows = list(entries)
    if rows:
        yield from ["", "| setting | what it is |", "|---|---|"]
    for entry in rows:
        kind = f" ({entry.kind})" if entry.kind else ""
        value = f"={entry.value}" if entry.value else ""
        yield f"| `{entry.key}{value}`{kind} | {_cell('<br>'.join(entry.texts))} |"


def _cell(text: str) -> str:
    """What a cell of a table may hold."""
    return text.replace("|", "\\|")
