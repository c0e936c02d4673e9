"""What a trained model writes: embeddings or completed modalities, in any format."""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from glob import escape, glob
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bidnn.data.ahead import ahead
from bidnn.data.fingerprints import fingerprints
from bidnn.data.formats.writing import Table, join
from bidnn.data.formats.written import format_of
from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.files import check_not_read, check_writable, whole_file
from bidnn.model.about import about
from bidnn.model.command import check_command
from bidnn.model.inference import Block, OutputKind, infer
from bidnn.model.model import Model
from bidnn.model.saved import checkpoint_files

log = logging.getLogger(__name__)

SHARD = "%s"
"""In `output.path`, the name of each file of a table."""


class OnFailure(Enum):
    """What a command that fails does to the training."""

    warn = "warn"
    stop = "stop"


@dataclass(slots=True, kw_only=True)
class OutputConfig:
    """What is written, where and when.

    Attributes:
        path: the file, `%e` in it being the epoch in five digits, or `final`; .npz, .npy and
            .parquet choose these formats, other formats' suffixes are refused, anything else is
            libsvm text; null: nothing is written. With `bidnn embed` of a table in several files,
            `%s` is the name of each, as in `out/%s.parquet`: an output each, and a manifest; what
            is there already, of the same model, settings and file, stays.
        kind: embeddings, or both modalities with what was missing translated.
        l2_norm: each half to unit length, then the row.
        columns: of a table, such as `[title,url]`, that go to a parquet file as they are, and to an
            npz file if they are texts or numbers.
        fingerprint: writes a column `fingerprint`, by which a later `changed=true` finds the rows
            that are no longer what they were; in parquet and npz.
        zero_based: indices of a libsvm file start at 0, not at 1.
        every_n_epochs: writes (and runs the command) at this interval too; 0: at the end only.
        command: run by the shell after each writing; `{output}` in it, without quotes, is the file
            just written, as is the environment variable BIDNN_OUTPUT; `%e` is the epoch as in
            `path`. None: nothing is run.
        timeout_s: seconds after which the command and its children are ended, above 0; where
            several processes train, at most nine tenths of what the others wait for the first.
        on_failure: `warn` logs that the command failed, `stop` ends the training.
    """

    path: str | None = None
    kind: OutputKind = OutputKind.embedding
    l2_norm: bool = False
    columns: list[str] = field(default_factory=list)
    fingerprint: bool = False
    zero_based: bool = False
    every_n_epochs: int = 0
    command: str | None = None
    timeout_s: float = 3600.0
    on_failure: OnFailure = OnFailure.warn

    def __post_init__(self) -> None:
        """Refuses what cannot be: an interval, a command, a path that names an unknown format.

        Raises:
            ValueError: naming the key.
        """
        if self.every_n_epochs < 0:
            raise UserError(f"output.every_n_epochs={self.every_n_epochs}: use 0 for never")
        if not self.timeout_s > 0:
            raise UserError(f"output.timeout_s={self.timeout_s}: must be above 0")
        if self.path == "":
            raise UserError("output.path is empty; name a file, such as embedding_%e.npz")
        if self.command is not None:
            check_command(self.command)
        if self.path is not None:
            self._check_columns(format_of(Path(self.path)).own_names)

    def _check_columns(self, own_names: tuple[str, ...]) -> None:
        if own_names:
            twice = {name for name in self.columns if self.columns.count(name) > 1}
            if twice:
                raise UserError(f"output.columns: {min(twice)} is named twice")
        elif self.columns or self.fingerprint:
            key = "output.columns" if self.columns else "output.fingerprint=true"
            raise UserError(
                f"{key}: output.path={self.path} has no place for it; name it .parquet or .npz"
            )


def fill_epoch(text: str, epoch: int | None) -> str:
    """Replaces `%e` by the epoch in five digits, or by `final` for None."""
    return text.replace("%e", "final" if epoch is None else f"{epoch:05d}")


def output_path(config: OutputConfig, epoch: int | None) -> Path:
    """The file that is written after that epoch; None is the end."""
    assert config.path is not None
    return Path(fill_epoch(config.path, epoch))


def check_output(store: PairStore, config: OutputConfig, epochs: Iterable[int | None]) -> None:
    """Finds out, before hours of work, whether outputs can be written: folder, names, labels.

    Args:
        store: the rows.
        config: where and what.
        epochs: after which they will be written; None is the end.

    Raises:
        OSError: naming the folder, or the name that is too long.
        ValueError: naming a label that the format cannot hold, or a column that is not there.
    """
    if SHARD in str(config.path):
        raise UserError(
            f"output.path={config.path}: {SHARD} stands for each file of the rows, of which `bidnn "
            "embed` writes an output each; name one file"
        )
    for epoch in epochs:
        check_writable(output_path(config, epoch))
    if config.columns:
        _check_columns(store, config)
    check = format_of(output_path(config, None)).check_labels
    if check is not None and store.labels is not None:
        try:
            check(store.labels)
        except UserError as error:
            raise UserError(
                f"output.path={config.path}: {error}; or name it .npz, which holds any"
            ) from error


def _check_columns(store: PairStore, config: OutputConfig) -> None:
    """Refuses columns that no table has, that the output has no place for, or has by itself."""
    form = format_of(output_path(config, None))
    if store.columns is None:
        raise UserError(
            f"output.columns: {store.name} has none besides; they are of a table, data=table, "
            "or of a table that data.ids names"
        )
    fields = store.columns.fields(config.columns)
    if form.source == "npz":
        from bidnn.data.formats.tables.beside import check_plain  # so late: it imports pyarrow

        for column in fields:
            check_plain(column)
    free = {"label" if store.labels is None else "", "id" if store.ids is None else ""}
    taken = [n for n in config.columns if n in form.own_names and n not in free]
    if taken:
        raise UserError(
            f"output.columns: {taken[0]} is what outputs call a column of their own; leave it out, "
            "or rename it in the table"
        )


def check_replaces_nothing(pattern: str, every: int, read: Iterable[str | Path], key: str) -> None:
    """Refuses files to write of which one, at whichever epoch, would replace what is read.

    Args:
        pattern: their name, `%e` in it being the epoch.
        every: epochs between writings; 0: at the end only.
        read: files that are read; a folder is a run's, whose checkpoints are read.
        key: the setting that the pattern is of, for the message.

    Raises:
        UserError: naming both.
    """
    files = [file for name in read for file in checkpoint_files(Path(name))]
    check_not_read(Path(fill_epoch(pattern, None)), files, key)
    if every:
        epoch = re.escape(pattern).replace("%e", r"\d{5,}")
        for written in glob(escape(pattern).replace("%e", "*")):  # noqa: PTH207 — from any folder
            if re.fullmatch(epoch, written):
                check_not_read(Path(written), files, key)


def write_output(
    model: Model,
    store: PairStore,
    config: OutputConfig,
    epoch: int | None,
    rows: NDArray[np.int64] | None = None,
    notes: Mapping[str, str] | None = None,
) -> Path:
    """Runs the model over the store and writes the result, whole or not at all.

    Args:
        model: trained.
        store: the rows, in the order in which they are written.
        config: where and what.
        epoch: how many epochs were trained; None at the end.
        rows: the numbers of those that are written, ascending; None: all.
        notes: what a parquet file says of itself besides.

    Returns:
        The file that was written.

    Raises:
        OSError: if it cannot be written; nothing is left behind then.
        ValueError: if the store has other sizes than the model.
    """
    path = output_path(config, epoch)
    blocks = infer(model, store, config.kind, l2_norm=config.l2_norm, rows=rows)
    _write(path, ahead(blocks), store, config, model, rows, notes)
    return path


def write_part(
    model: Model,
    store: PairStore,
    config: OutputConfig,
    epoch: int | None,
    share: tuple[int, int],
) -> None:
    """Writes one process's part of the rows beside the output, for `join_parts`.

    Args:
        model: as for `write_output`, like `store`, `config` and `epoch`.
        store: likewise.
        config: likewise.
        epoch: likewise.
        share: this process's number and how many there are.
    """
    blocks = infer(model, store, config.kind, l2_norm=config.l2_norm, share=share)
    with whole_file(part_path(config, epoch, share[0])) as file:
        for block in ahead(blocks):
            file.write(join(block.left, block.right).data)


def join_parts(
    model: Model, store: PairStore, config: OutputConfig, epoch: int | None, processes: int
) -> Path:
    """Writes the output from the parts of all processes, in the order of the rows.

    Returns:
        The file that was written; the parts are gone.
    """
    path, halves = output_path(config, epoch), widths(model, config.kind)
    parts = [part_path(config, epoch, number) for number in range(processes)]

    def blocks() -> Iterator[Block]:
        for number, part in enumerate(parts):
            whole = store.part((number, processes))
            if whole.stop == whole.start:
                continue
            values = np.memmap(part, np.float32, "r", shape=(whole.stop - whole.start, sum(halves)))
            for rows in store.blocks((number, processes), sum(halves)):
                found = np.array(values[rows.start - whole.start : rows.stop - whole.start])
                yield Block(rows, found[:, : halves[0]], found[:, halves[0] :])

    try:
        _write(path, blocks(), store, config, model)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
    return path


def output_room(model: Model, store: PairStore, config: OutputConfig, files: int = 1) -> int:
    """About how many bytes so many outputs need on the disk: 4 a value in arrays, 12 in text."""
    form, joined = format_of(output_path(config, None)), config.kind is OutputKind.embedding
    return form.room(store, widths(model, config.kind), joined=joined, files=files)


def part_path(config: OutputConfig, epoch: int | None, number: int) -> Path:
    """Where `write_part` leaves the part of a process."""
    path = output_path(config, epoch)
    return path.with_name(f".{path.name}.rank{number}.part")


def widths(model: Model, kind: OutputKind) -> tuple[int, int]:
    """Columns of both halves of what is written."""
    if kind is OutputKind.embedding:
        return model.halves
    return model.mod1size, model.mod2size


def _write(
    path: Path,
    blocks: Iterable[Block],
    store: PairStore,
    config: OutputConfig,
    model: Model,
    rows: NDArray[np.int64] | None = None,
    notes: Mapping[str, str] | None = None,
) -> None:
    form, empty = format_of(path), True
    chosen = slice(None) if rows is None else rows
    says = form.source == "table"
    columns = store.columns if config.columns else None
    table = Table(
        widths(model, config.kind),
        store.present[chosen],
        None if store.labels is None else store.labels[chosen],
        joined=config.kind is OutputKind.embedding,
        ids=None if store.ids is None else store.ids[chosen],
        about=about(model, config.kind, l2_norm=config.l2_norm) | dict(notes or {}) if says else {},
        beside=None if columns is None else columns.read(config.columns, store.ids, rows),
        fingerprints=fingerprints(store, rows) if config.fingerprint else None,
    )
    if store.ids is not None and not form.keeps_ids:
        log.info("%s: has no place for ids; its rows are in their order, .npz has them", path)

    def looked_at() -> Iterator[Block]:
        nonlocal empty
        for block in blocks:
            empty = empty and not (block.left.any() or block.right.any())
            yield block

    form.write(path, table, looked_at(), zero_based=config.zero_based)
    if empty and table.present.any():
        log.warning(
            "%s: every value is zero, so that all rows are alike; the network has died, as relu "
            "does at a high learning rate, or was fed zeros",
            path,
        )
