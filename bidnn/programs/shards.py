"""Rows in many files embedded each into an output of its own, by as many processes as one has.

An output says of itself which files it is of, of which size and time, and of which model and
settings: what is there and says the same is not made again, whoever made it and whenever. The
manifest beside the outputs is only drawn from them, for others to read.
"""

import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from glob import escape, glob
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bidnn.data.matrix_sources import NpySource
from bidnn.data.pieces import Piece, pieces_of
from bidnn.data.sources import AnySource
from bidnn.data.store import PairStore
from bidnn.errors import UserError, counted
from bidnn.files import as_json, check_room, held, whole_file
from bidnn.model.about import PREFIX, about, differs, read_about
from bidnn.model.model import Model
from bidnn.model.outputs import (
    SHARD,
    OutputConfig,
    check_output,
    output_path,
    output_room,
    write_output,
)
from bidnn.model.saved import load_bundle
from bidnn.programs.config import EmbedConfig
from bidnn.programs.devices import device_of
from bidnn.programs.processes import rank, share_of_work
from bidnn.programs.rows import open_rows
from bidnn.programs.sweeps import claim_output
from bidnn.training.config import check_folder
from bidnn.training.record import check_no_training, plain_settings, write_record

log = logging.getLogger(__name__)

MANIFEST = "_manifest.json"
"""By its first letter, pyarrow, pandas and Spark leave it out when they read the whole folder."""
NOTE = f"{PREFIX}shard"
DECIDING = ("first", "second", "label", "id", "ignore_zeroes", "missing_rate", "missing_modality")
"""What of a source an output depends on, besides the files."""
FILES = ("first", "second", "label")
"""Of these, those that are no columns but files."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A piece of the rows, and the output that is made of it."""

    piece: Piece
    output: Path

    def note(self, settings: str) -> dict[str, Any]:
        """What the output says of what it is made of.

        Args:
            settings: a digest of them.
        """
        note = {"inputs": [file.state() for file in self.piece.inputs], "settings": settings}
        return note if self.piece.ids is None else note | {"ids": self.piece.ids}


def embed_shards(config: EmbedConfig, source: AnySource) -> None:
    """Makes those outputs of this process's share that are missing, and the manifest.

    Raises:
        UserError: naming the files of which none could be made, after all others; or what is wrong
            with the settings.
        OSError: if an output cannot be written.
    """
    shards = find_shards(source, str(config.output.path))
    folder = manifest_folder(str(config.output.path))
    _check_apart(shards, folder, str(config.output.path))
    check_folder(config.run_dir, config.output)
    run = Path(config.run_dir)
    check_no_training(run)
    claim_output(folder / MANIFEST)
    with held(run) if not rank() else nullcontext():
        model = load_bundle(Path(config.checkpoint)).to(device_of(config.device))
        if config.missing is not None:
            model = model.with_missing(config.missing)
        if not rank():
            settings = {"checkpoint": config.checkpoint, "data": source, "output": config.output}
            write_record(run, None, plain_settings(settings))
        _embed_all(config, source, shards, model)


def find_shards(source: AnySource, pattern: str) -> list[Shard]:
    """The pieces of a source in their order, each with its output.

    Raises:
        UserError: if it has none, outputs are no parquet files, or two would have the same name.
    """
    if pattern.count(SHARD) != 1 or Path(pattern).suffix.lower() != ".parquet" or "%e" in pattern:
        raise UserError(
            f"output.path={pattern}: outputs of single files are named as out/{SHARD}.parquet, "
            f"with {SHARD} once"
        )
    shards: dict[Path, Shard] = {}
    for piece in pieces_of(source):
        output = Path(pattern.replace(SHARD, piece.name))
        if "%e" in str(output):
            raise UserError(f"{piece}: %e in its name would be the epoch in that of its output")
        if output in shards:
            raise UserError(
                f"{piece} and {shards[output].piece}: both would be {output}; rename one"
            )
        shards[output] = Shard(piece, output)
    return list(shards.values())


def manifest_folder(pattern: str) -> Path:
    """The folder that holds all outputs."""
    return Path(f"{pattern.split(SHARD)[0]}_").parent


def why_missing(shard: Shard, says: dict[str, str], settings: str) -> str | None:
    """Why an output is to be made; None if it is there.

    Args:
        shard: of which.
        says: what it should say of its model.
        settings: a digest of them.
    """
    told = read_about(shard.output)
    if told is None:
        return "not there"
    if differs(told, says):
        return "of another model, kind or norm"
    note = json.loads(told.get(NOTE, "{}"))
    if note.get("settings") != settings:
        return "of other settings"
    made_of = [{**state, "file": None} for state in note.get("inputs", ())]  # or called otherwise
    now = [{**state, "file": None} for state in shard.note(settings)["inputs"]]
    same = made_of == now and note.get("ids") == shard.piece.ids
    return None if same else "of a file that has changed"


def _embed_all(
    config: EmbedConfig, source: AnySource, shards: Sequence[Shard], model: Model
) -> None:
    output, (number, processes) = config.output, config.share or share_of_work()
    says = about(model, output.kind, l2_norm=output.l2_norm)
    settings = _digest(config, source)
    own = shards[number::processes]
    reasons = {shard: why_missing(shard, says, settings) for shard in own}
    left = [shard for shard in own if reasons[shard] is not None]
    shared = f", process {number} of {processes} with {len(own)} of these" * (processes > 1)
    files, outputs = counted(len(shards), "file"), counted(len(left), "output")
    log.info("%s%s: %s to be made", files, shared, outputs)
    together = None
    if left and left[0].piece.rows is not None:
        together = _open_together(config, left[0], model)
    failed: list[Shard] = []
    for count, shard in enumerate(left, start=1):
        log.info("%d of %d: %s (%s)", count, len(left), shard.output, reasons[shard])
        try:
            _embed_one(config, shard, model, settings, together)
        except UserError as error:  # of this file; the others are made all the same
            log.error("%s", error)
            failed.append(shard)
    _write_manifest(str(output.path), shards, says, settings)
    if failed:
        raise UserError(
            f"{len(failed)} of {len(left)} outputs could not be made, the first of "
            f"{failed[0].piece}; the same command makes what is missing"
        )


def _open(config: EmbedConfig, shard: Shard, model: Model) -> PairStore:
    sizes = (model.mod1size, model.mod2size)
    return open_rows(shard.piece.source, config.seed, sizes, model.reading)


def _open_together(config: EmbedConfig, shard: Shard, model: Model) -> PairStore:
    """The rows of all pieces, that are joined once, by the first process that comes."""
    with _alone_in(manifest_folder(str(config.output.path))):
        return _open(config, shard, model)


def _embed_one(
    config: EmbedConfig, shard: Shard, model: Model, settings: str, together: PairStore | None
) -> None:
    note, rows = shard.note(settings), None
    store = _open(config, shard, model) if together is None else together
    output: OutputConfig = replace(config.output, path=str(shard.output))
    check_output(store, output, [None])
    room = output_room(model, store, output)
    if shard.piece.rows is not None:
        rows = np.arange(*shard.piece.rows)
        _check_ids(shard, store, rows)
        room = room * len(rows) // max(1, len(store))
    check_room(output_path(output, None), room, f"output.path={shard.output}")
    write_output(model, store, output, None, rows, notes={NOTE: json.dumps(note)})


def _check_ids(shard: Shard, store: PairStore, rows: NDArray[np.int64]) -> None:
    """Refuses rows that are no longer those that the tables had when their files were listed."""
    from bidnn.data.formats.tables.rows import digest  # so late: see `find_shards`

    there = rows[rows < len(store)]
    if store.ids is None or digest(store.ids[there].tolist()) != shard.piece.ids:
        raise UserError(f"{shard.piece}: was changed meanwhile; start again")


def _digest(config: EmbedConfig, source: AnySource) -> str:
    """Settings that an output depends on, besides the model and the files."""
    files = FILES if isinstance(source, NpySource) else ()
    known = plain_settings({k: getattr(source, k, None) for k in DECIDING if k not in files})
    known |= {"columns": config.output.columns, "fingerprint": config.output.fingerprint}
    known |= {"seed": config.seed} if source.missing_rate else {}
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def _write_manifest(
    pattern: str, shards: Sequence[Shard], says: dict[str, str], settings: str
) -> None:
    """Draws the manifest from the outputs, while no other process does."""
    from pyarrow import parquet  # so late: see `find_shards`

    folder = manifest_folder(pattern)
    with _alone_in(folder):
        made, missing = [], []
        for shard in shards:
            if why_missing(shard, says, settings) is not None:
                missing.append(str(shard.piece))
                continue
            entry = {"inputs": shard.note(settings)["inputs"]}
            rows = parquet.read_metadata(shard.output).num_rows
            name = os.path.relpath(shard.output, folder)
            made.append({"output": name, "rows": rows, **entry})
        known = {shard.output.resolve() for shard in shards}
        others = [file for file in _outputs(pattern) if file.resolve() not in known]
        content = {
            "model": {key.removeprefix(PREFIX): value for key, value in says.items()},
            "complete": not missing,
            "rows": sum(entry["rows"] for entry in made),
            "shards": made,
            "missing": missing,
        }
        with whole_file(folder / MANIFEST) as file:
            file.write(as_json(content, indent=1).encode() + b"\n")
    rest = f"; {len(missing)} are missing" if missing else ""
    outputs, rows = counted(len(made), "output"), counted(content["rows"], "row")
    log.info("%s: %s of %s%s", folder / MANIFEST, outputs, rows, rest)
    if others:
        log.warning(
            "%s: %s of none of the rows' files now, such as %s, left there and not in the manifest",
            folder,
            counted(len(others), "file"),
            others[0],
        )


def _outputs(pattern: str) -> list[Path]:
    """All files that are named as outputs are."""
    before, after = pattern.split(SHARD)
    folders = before == "" or before.endswith("/")
    names = escape(before) + ("**/*" if folders else "*") + escape(after)
    return [Path(name) for name in glob(names, recursive=True)]  # noqa: PTH207 — from any folder


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Waits until no other process is at it; where the file system knows no locks, nobody waits."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _check_apart(shards: Sequence[Shard], folder: Path, pattern: str) -> None:
    """Refuses outputs among what is read, of which a second run would make outputs again."""
    whole = folder.resolve()
    for file in (file for shard in shards for file in shard.piece.inputs):
        if file.version is None and Path(file.name).resolve().is_relative_to(whole):
            raise UserError(
                f"output.path={pattern}: its folder holds what is read ({file.name}); choose one "
                "for the outputs alone"
            )
