"""Rows that are in many files taken apart again: each file, or pair of files, on its own.

Files that are elsewhere are only listed; who opens a piece brings its files and no others.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from glob import has_magic
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar

from bidnn.data.formats.embeddings import patterns
from bidnn.data.formats.numbered import (
    Numbered,
    by_number,
    check_numbers,
    is_pattern,
    matching,
    numbered,
)
from bidnn.data.matrix_sources import EmbeddingsSource, NpySource
from bidnn.data.remote import files_at, local_path, with_local_files
from bidnn.data.source import Source, required_path
from bidnn.data.sources import AnySource, TableSource
from bidnn.errors import UserError

Local = TypeVar("Local", TableSource, NpySource)


@dataclass(frozen=True, slots=True)
class Input:
    """A file of a piece.

    Attributes:
        name: its path, or its address.
        version: of a file that is elsewhere, what its system tells of its content.
    """

    name: str
    version: str | None = None

    def state(self) -> dict[str, Any]:
        """What changes when it does.

        Raises:
            OSError: if it is not there.
        """
        if self.version is not None:
            return {"file": self.name, "version": self.version}
        now = Path(self.name).stat()
        return {"file": self.name, "size": now.st_size, "mtime_ns": now.st_mtime_ns}


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows in files of their own.

    Attributes:
        name: of the first file, beneath what all have in common and without its suffix.
        inputs: its files.
        source: of its rows alone.
        rows: the first and the one after the last, where the source is of all pieces: of two tables
            that are joined.
        ids: a digest of the ids of these.
    """

    name: str
    inputs: tuple[Input, ...]
    source: AnySource = field(hash=False)
    rows: tuple[int, int] | None = None
    ids: str | None = None

    def __str__(self) -> str:
        """The names of its files."""
        return " + ".join(file.name for file in self.inputs)


def pieces_of(source: AnySource) -> list[Piece]:
    """The files of a table or of two, or the shards of a pair of matrices, in their order.

    Raises:
        UserError: if the source is of another kind, or shards have no partners.
        OSError: if a folder cannot be read.
    """
    if isinstance(source, TableSource):
        return _of_table(source) if source.second_path is None else _of_joined(source)
    if isinstance(source, EmbeddingsSource):
        return _of_folder(source)
    if isinstance(source, NpySource):
        return _of_shards(source)
    raise UserError(
        "an output for each file is for rows in many: data=table data.path='part-*.parquet', "
        "data=npy data.first='img-*.npy' data.second='text-*.npy', or data=embeddings"
    )


def _of_table(source: TableSource) -> list[Piece]:
    # so late: pyarrow takes a tenth of a second, which other sources do without
    from bidnn.data.formats.tables.files import SUFFIXES, find_files

    source = _brought(source)
    path = source.path or str(required_path(None, "data.path"))
    if "://" in path:
        files = _files_elsewhere(path, SUFFIXES)
    else:
        files = [Input(str(file)) for file in find_files(path)]
    names = _names([file.name for file in files], path, SUFFIXES)
    return [
        Piece(name, (file,), replace(source, path=file.name, cache=False))  # each is read once
        for name, file in zip(names, files, strict=True)
    ]


def _of_joined(source: TableSource) -> list[Piece]:
    """Each file of the first table, its rows completed; then what only a file of the second has."""
    # so late: see `_of_table`
    from bidnn.data.formats.tables.files import SUFFIXES, open_table
    from bidnn.data.formats.tables.rows import joined_files

    local = with_local_files(source)  # which rows belong together is told by their ids
    if local.id is None:
        raise UserError("data.second_path: two tables are joined by id, and data.id names none")
    paths = str(required_path(local.path, "data.path")), local.second_path or ""
    tables = [open_table(path) for path in paths]
    pieces = []
    found = joined_files(tables[0], tables[1], local.id)
    for path, table, parts, what in zip(paths, tables, found, ("", "-only_second"), strict=True):
        names = _names([str(file) for file in table.files], path, SUFFIXES)
        known = dict(zip(table.files, names, strict=True))
        for part in parts:
            files = (part.file, *part.partners)
            inputs = tuple(Input(str(file)) for file in files)
            pieces.append(Piece(known[part.file] + what, inputs, local, part.rows, part.ids))
    return pieces


def _of_folder(source: EmbeddingsSource) -> list[Piece]:
    local = with_local_files(source)  # what is in it is told by a look
    first, second, ids = patterns(required_path(local.path, "data.path"), local.id)
    common: dict[str, Any] = {f.name: getattr(local, f.name) for f in fields(Source)}
    named: dict[str, Any] = {
        "first": first,
        "second": second,
        "ids": ids,
        "id": local.id if ids else None,
    }
    return _of_shards(NpySource(**common, **named, ignore_zeroes=local.ignore_zeroes))


def _of_shards(source: NpySource) -> list[Piece]:
    source = _brought(source)
    if source.first is None and source.second is None:
        required_path(None, "data.first")
    found: dict[str, list[Input]] = {}
    shards: list[Numbered] = []
    for key in ("first", "second", "label", "ids"):
        pattern = getattr(source, key)
        if pattern is None:
            continue
        found[key] = _matching(pattern, f"data.{key}")
        files = [file.name for file in found[key]]
        several = numbered(pattern, files, f"data.{key}") if len(files) > 1 else None
        shards.append(several or Numbered(pattern, tuple(files), None))
        check_numbers(shards[0], shards[-1])
    leading = shards[0]
    names = _names(leading.files, leading.pattern, (".npy",))
    pieces = []
    for name, *own in zip(names, *found.values(), strict=True):
        keys: dict[str, Any] = {key: file.name for key, file in zip(found, own, strict=True)}
        pieces.append(Piece(name, tuple(own), replace(source, **keys)))
    return pieces


def _matching(pattern: str, key: str) -> list[Input]:
    """The files of a pattern by number, or the one file."""
    if "://" in pattern:
        return _files_elsewhere(pattern, ())
    if not is_pattern(pattern):
        return [Input(pattern)]
    return [Input(str(file)) for file in matching(pattern, key)]


def _files_elsewhere(url: str, suffixes: Sequence[str]) -> list[Input]:
    """Those that a pattern names, or those of some suffixes in a folder, by number."""
    found = files_at(url)
    if not has_magic(url) and len(found) > 1:
        found = {n: f for n, f in found.items() if Path(n).suffix.lower() in suffixes}
    if not found:
        raise UserError(f"{url}: no file in it ends in {', '.join(suffixes)}")
    return sorted((Input(*file) for file in found.values()), key=lambda file: by_number(file.name))


def _brought(source: Local) -> Local:
    """The source, its files brought that no piece could bring for itself, and those of here."""
    own = {f.name: getattr(source, f.name) for f in fields(source)}
    whole: dict[str, Any] = {
        name: local_path(value)
        for name, value in own.items()
        if isinstance(value, str) and (value.startswith("file://") or "::" in value)
    }
    return replace(source, **whole) if whole else source


def _names(files: Sequence[str], given: str, suffixes: Sequence[str]) -> list[str]:
    """What outputs are called by: each file's path beneath the folder or pattern, unsuffixed."""
    base = _base(given, files[0])
    names = []
    for file in files:
        path = Path(file)
        name = path.relative_to(base) if path.is_relative_to(base) else Path(path.name)
        names.append(str(name.with_suffix("") if name.suffix.lower() in suffixes else name))
    return names


def _base(given: str, file: str) -> Path:
    """The folder that the names of files are told from; `file` is one of them."""
    path = Path(given)
    if has_magic(given) and not path.exists():
        return Path(*takewhile(lambda part: not has_magic(part), path.parts))
    return path.parent if path == Path(file) else path
