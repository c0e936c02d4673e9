"""The files that a table is in: parquet, Arrow files and streams, folders and patterns of them."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
from pyarrow import parquet

from bidnn.data.formats.arrays import check_file
from bidnn.data.formats.kinds import check_kind, kind_of
from bidnn.data.formats.numbered import by_number, is_pattern, matching
from bidnn.errors import UserError
from bidnn.files import readable

BATCH_BYTES = 16 * 2**20
SUFFIXES = (".parquet", ".pq", ".arrow", ".feather", ".ipc")
_STREAM = b"\xff\xff\xff\xff"
ArrowReader: TypeAlias = pa.RecordBatchFileReader | pa.RecordBatchStreamReader


@dataclass(frozen=True, slots=True)
class TableFiles:
    """A table in one file or several, whose rows follow each other.

    Attributes:
        name: as it was given, for messages.
        files: in the order of the rows.
        schema: of the first.
    """

    name: str
    files: tuple[Path, ...]
    schema: pa.Schema

    def check_column(self, column: str, key: str) -> None:
        """Refuses a column that the first file does not have.

        Raises:
            UserError: naming the nearest that it has.
        """
        _check_columns(self.name, self.schema, [column], key)

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows of some columns, some 16 MiB at a time.

        Raises:
            UserError: if a file is damaged, or lacks a column.
            OSError: if one cannot be read.
        """
        for _, batch in self.batches_by_file(columns):
            yield batch

    def batches_by_file(self, columns: Sequence[str]) -> Iterator[tuple[Path, pa.RecordBatch]]:
        """As `batches`, each with the file that it is from, which may have types of its own."""
        for path in self.files:
            _check_columns(str(path), _schema(path), columns)
            read = _parquet_batches if is_parquet(path) else _arrow_batches
            for batch in read(path, columns):
                yield path, batch


def open_table(path: str) -> TableFiles:
    """Finds the files of a table.

    Args:
        path: a file, a folder of such files, a pattern with `*`, or what Hugging Face's
            `save_to_disk` made; in a folder and by a pattern they follow each other by number.

    Raises:
        UserError: if there is none, or one is no table, or cut off.
        OSError: if one cannot be read.
    """
    files = find_files(path)
    for file in files:
        check_file(file)
        check_kind(file, "table")
        if kind_of(file) is None:
            raise UserError(f"{file}: neither a parquet file nor an Arrow one; {_way_out(file)}")
    return TableFiles(path, tuple(files), _schema(files[0]))


def _way_out(file: Path) -> str:
    """How another file becomes a table."""
    if not {".csv", ".tsv"} & {suffix.lower() for suffix in file.suffixes}:
        return "write it as one, such as by pandas.DataFrame.to_parquet"
    tabs = ", sep='\\t'" if ".tsv" in file.name.lower() else ""
    path = file.with_name(f"{file.name.split('.')[0]}.parquet")
    return (
        f"in Python, frame = pandas.read_csv({str(file)!r}{tabs}); frame['vector'] = "
        "list(frame[NAMES].to_numpy()), where NAMES are the columns of one vector's numbers; "
        f"frame.to_parquet({str(path)!r}) makes one, with vectors in one column"
    )


def is_parquet(path: Path) -> bool:
    """Whether it is a parquet file, by its first bytes."""
    with path.open("rb") as file:
        return file.read(3) == b"PAR"


def find_files(path: str, key: str = "data.path") -> list[Path]:
    """The files of a table, not looked into; see `open_table`.

    Args:
        path: of the table.
        key: the setting that names it, for messages.

    Raises:
        UserError: if there is none.
    """
    given = Path(path)
    if given.is_dir():
        check_kind(given, "table")
        return _in_folder(given)
    return matching(path, key) if is_pattern(path) else [given]


def _in_folder(folder: Path) -> list[Path]:
    if (folder / "dataset_dict.json").is_file():
        splits = sorted(part.name for part in folder.iterdir() if part.is_dir())
        raise UserError(
            f"{folder}: several tables, {', '.join(splits)}; name one, such as {folder / splits[0]}"
            if splits
            else f"{folder}: a folder of several tables, of which none is there"
        )
    state = folder / "state.json"
    if state.is_file():
        with readable(state, "state of a saved data set"):
            names = [file["filename"] for file in json.loads(state.read_text())["_data_files"]]
        files = [folder / name for name in names]
    else:
        inside = (file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
        files = sorted((file for file in inside if file.is_file()), key=by_number)
    if not files:
        raise UserError(f"{folder}: no file in it that ends in {', '.join(SUFFIXES)}")
    return files


def _schema(path: Path) -> pa.Schema:
    if is_parquet(path):
        with _parquet(path) as file:
            return file.schema_arrow
    with arrow_reader(path) as (reader, _):
        return reader.schema


def _check_columns(name: str, schema: pa.Schema, columns: Sequence[str], key: str = "") -> None:
    for column in columns:
        count = schema.names.count(column)
        if count == 1:
            continue
        if count:
            raise UserError(f"{name}: {count} columns named {column}; rename all but one")
        near = get_close_matches(column, schema.names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(schema.names)}"
        asked = f"{key}={column}: " if key else ""
        raise UserError(f"{asked}{name} has no column {column}; {hint}")


@contextmanager
def _parquet(path: Path) -> Iterator[parquet.ParquetFile]:
    """Opens a parquet file, of which pages are read as they are needed, not whole columns."""
    options = {"buffer_size": 2**20, "pre_buffer": False}
    kind, hint = "parquet file", "write it anew, whole and unencrypted"
    with readable(path, kind, hint), parquet.ParquetFile(path, **options) as file:
        yield file


def _parquet_batches(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with _parquet(path) as file:
        rows = _rows_in_batch(file, columns)
        yield from file.iter_batches(batch_size=rows, columns=list(columns))


def _rows_in_batch(file: parquet.ParquetFile, columns: Sequence[str]) -> int:
    if not file.num_row_groups:
        return 1
    for _ in file.iter_batches(batch_size=1, row_groups=[0], columns=list(columns)):
        break  # an encrypted column raises here; asked for its size, pyarrow ends the process
    paths = [file.schema.column(number).path for number in range(len(file.schema))]
    group = file.metadata.row_group(0)
    size: int = sum(
        group.column(number).total_uncompressed_size
        for number, path in enumerate(paths)
        if any(path == c or path.startswith(f"{c}.") for c in columns)
    )
    rows: int = group.num_rows
    return max(64, min(2**17, BATCH_BYTES * max(1, rows) // max(1, size)))


@contextmanager
def arrow_reader(path: Path) -> Iterator[tuple[ArrowReader, int]]:
    """Opens an Arrow file or stream, which is mapped; with the address at which it is."""
    with readable(path, "Arrow file"), pa.memory_map(str(path)) as mapped:
        address = mapped.read_buffer(len(_STREAM)).address
        mapped.seek(0)
        stream = mapped.read(4) == _STREAM
        mapped.seek(0)
        with (pa.ipc.open_stream if stream else pa.ipc.open_file)(mapped) as reader:
            yield reader, address


def record_batches(reader: ArrowReader) -> Iterator[pa.RecordBatch]:
    """All record batches of an Arrow file or stream."""
    if isinstance(reader, pa.RecordBatchFileReader):
        return (reader.get_batch(number) for number in range(reader.num_record_batches))
    return iter(reader)


def _arrow_batches(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with arrow_reader(path) as (reader, _):
        for batch in record_batches(reader):
            part = batch.select(list(columns))
            rows = max(64, BATCH_BYTES * max(1, len(part)) // max(1, part.nbytes))
            for start in range(0, len(part), rows):
                yield part.slice(start, rows)
