"""The rows of a program: of a source of ours, or of the user's own."""

import logging
from dataclasses import fields, is_dataclass
from glob import glob, has_magic
from pathlib import Path
from typing import Any

from bidnn.data.remote import with_local_files
from bidnn.data.sources import AnySource, read_alike
from bidnn.data.store import PairStore, Reading
from bidnn.errors import UserError
from bidnn.training.config import made

log = logging.getLogger(__name__)

NEEDED = (
    *("batch_size", "shuffle", "val_fraction", "missing_rate", "missing_modality"),
    *("open", "open_validation", "validation_keys"),
)


def source_of(node: Any) -> AnySource:  # noqa: ANN401 — a source, or the settings of an own one
    """Where rows come from.

    Args:
        node: a source, or settings with the `_target_` of an own one.

    Raises:
        UserError: if it is none.
    """
    source = made(node)
    if isinstance(source, dict):
        raise UserError("data: no _target_ in the settings; it names the class, module.Class")
    lacks = [name for name in NEEDED if not hasattr(source, name)]
    if lacks:
        raise UserError(
            f"data: {type(source).__name__} has no {', '.join(lacks)}; derive it from "
            "bidnn.data.sources.Source, and give it open(sizes)"
        )
    own: AnySource = source
    return own


def check_trains_nothing(source: AnySource) -> None:
    """Refuses rows to validate on, in a program that trains nothing.

    Raises:
        UserError: naming the keys.
    """
    if source.validation_keys:
        raise UserError(
            f"{' and '.join(source.validation_keys)}: no meaning here, because nothing is trained; "
            "leave it out"
        )


def files_of(source: AnySource) -> list[str]:
    """The files that a source names, in whichever of its settings; also in folders, by patterns."""
    names = [field.name for field in fields(source)] if is_dataclass(source) else list(vars(source))
    found: list[str] = []
    for value in (getattr(source, name) for name in names):
        if isinstance(value, str) and has_magic(value) and not Path(value).exists():
            found += glob(value, recursive=True)  # noqa: PTH207 — from any folder
        elif isinstance(value, str):
            inside = (Path(value).glob(names) for names in ("*", "*/*"))
            found += [value, *(str(file) for files in inside for file in files)]
    return found


def open_rows(
    source: AnySource,
    seed: int,
    sizes: tuple[int, int] | None = None,
    reading: Reading | None = None,
) -> PairStore:
    """Reads the rows, and hides what `data.missing_rate` asks for.

    Args:
        source: where they come from.
        seed: of what is hidden.
        sizes: columns of a trained model, for a source that does not know them.
        reading: how the rows were read that the model was trained on.

    Raises:
        UserError, OSError: naming what is wrong with the file or the keys.
    """
    local = with_local_files(source)
    store = (local if reading is None else read_alike(local, reading)).open(sizes)
    if not isinstance(store, PairStore):
        raise UserError(
            f"data: {type(source).__name__}.open returned {type(store).__name__}, not a PairStore; "
            "bidnn.data.formats.arrays.store_arrays makes one of two matrices"
        )
    if store.reading.index_base is not None:
        same = reading is not None and store.reading.index_base is reading.index_base
        as_before = ", as in the model's training file" if same else ""
        log.info("%s: indices start at %s%s", store.name, store.reading.index_base.value, as_before)
    return store.drop(source.missing_rate, seed, source.missing_modality)
