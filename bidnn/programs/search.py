"""`bidnn search`: the nearest rows of a row, or of new ones, through the trained model."""

import logging
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bidnn.data.formats.arrays import store_arrays
from bidnn.data.store import PairStore
from bidnn.errors import UserError, counted
from bidnn.files import check_not_read, check_writable, readable
from bidnn.model.about import as_told, l2_norm_of
from bidnn.model.inference import check_sizes, embed
from bidnn.model.model import Model
from bidnn.model.saved import load_bundle
from bidnn.programs.config import SearchConfig
from bidnn.programs.devices import device_of
from bidnn.programs.rows import check_trains_nothing, files_of, open_rows, source_of
from bidnn.search.hits import Hits, writer_of
from bidnn.search.index import Index
from bidnn.search.kept import check_current, folder_of, is_index

log = logging.getLogger(__name__)

SHOWN = 200
"""Rows of the table that is printed, at most."""


def run(config: SearchConfig) -> None:
    """Finds the nearest rows, and prints or writes them.

    Raises:
        ValueError, OSError: naming what is wrong and the way out.
    """
    asked = [
        name for name in ("id", "data", "first", "second") if getattr(config, name) is not None
    ]
    if not asked or ("id" in asked and len(asked) > 1) or ("data" in asked and len(asked) > 1):
        raise UserError(
            "search for a row of the embedding with id=ID, or, with checkpoint=RUN, for rows of "
            "data=…, or for vectors of one modality, first=FILE or second=FILE (- reads them from "
            f"standard input); {' and '.join(asked) or 'nothing'} is given"
        )
    if config.output.path is not None:
        writer_of(Path(config.output.path))
        check_not_read(Path(config.output.path), [config.file], "output.path")
        check_writable(Path(config.output.path))
    index = _open(Path(config.file), Path(config.folder))
    hits = _like(index, config) if config.id is not None else _through_model(index, config)
    if config.output.path is not None:
        hits.write(config.output.path)
        log.info("%s: %s", config.output.path, counted(len(hits), "query", "queries"))
    else:
        show(hits)


def _open(file: Path, folder: Path) -> Index:
    """The index of a file, or one in memory."""
    folder = folder_of(file, folder)
    if not is_index(folder):
        return Index.build(file)
    check_current(folder, file)
    return Index.open(folder)


def _like(index: Index, config: SearchConfig) -> Hits:
    ids = config.id if isinstance(config.id, list) else [config.id]
    return index.like(ids, config.k, having=config.having)


def _through_model(index: Index, config: SearchConfig) -> Hits:
    if config.checkpoint is None:
        raise UserError("new rows are embedded by the trained model; add checkpoint=RUN")
    model = load_bundle(Path(config.checkpoint)).to(device_of(config.device))
    model = as_told(model, index.about, config.file)
    store = _queries(model, config)
    log.info(store.describe())
    vectors = embed(model, store, l2_norm=l2_norm_of(index.about))
    hits = index.search(vectors, config.k, having=config.having)
    return replace(hits, queries=store.ids)


def _queries(model: Model, config: SearchConfig) -> PairStore:
    sizes = (model.mod1size, model.mod2size)
    if config.data is not None:
        source = source_of(config.data)
        check_trains_nothing(source)
        if config.output.path is not None:
            check_not_read(Path(config.output.path), files_of(source), "output.path")
        return open_rows(source, config.seed, sizes, model.reading)
    if config.first == config.second == "-":
        raise UserError("first=- second=-: standard input has vectors of one modality only")
    given = [read_numbers(name) for name in (config.first, config.second)]
    store = store_arrays(*given, name="queries", sizes=sizes)
    check_sizes(model, store)
    return store


def read_numbers(name: str | None) -> NDArray[np.float32] | None:
    """Vectors of one modality: .npy, or text with one a line, from standard input for `-`.

    Raises:
        UserError: if they are no numbers.
        OSError: if the file cannot be read.
    """
    if name is None:
        return None
    path = Path(name)
    with readable(path, "file of vectors"):
        if path.suffix.lower() == ".npy":
            found = np.load(path, allow_pickle=False)
        else:
            lines = sys.stdin.readlines() if name == "-" else path.read_text().splitlines()
            plain = [line.translate(str.maketrans(",;[]", "    ")) for line in lines]
            found = np.array([line.split() for line in plain if line.strip()], np.float32)
    values: NDArray[np.float32] = np.atleast_2d(np.asarray(found, np.float32))
    return values


def show(hits: Hits) -> None:
    """Prints a table: query, rank, id, similarity, which modalities a row has, what is known."""
    from rich.console import Console
    from rich.table import Table

    table = hits.table()
    marks = [name for name in ("present_first", "present_second") if name in table.schema.names]
    names = [name for name in table.schema.names if name not in marks]
    printed = Table(*names, *(["has"] if len(marks) == 2 else []))
    for row in table.slice(0, SHOWN).to_pylist():
        cells = [f"{row[n]:.3f}" if n == "similarity" else str(row[n]) for n in names]
        if len(marks) == 2:
            has = [n.removeprefix("present_") for n in marks if row[n]]
            cells.append("both" if len(has) == 2 else " ".join(has) or "neither")
        printed.add_row(*cells)
    Console(width=None if sys.stdout.isatty() else 160).print(printed)
    if table.num_rows > SHOWN:
        more = counted(table.num_rows - SHOWN, "row")
        log.info("%s more; output.path=hits.parquet (.jsonl, .run) has all", more)
