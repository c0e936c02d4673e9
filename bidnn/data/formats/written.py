"""Which formats rows are written in, and how the name of a file says so."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bidnn.data.formats.array_writers import write_npy, write_npz
from bidnn.data.formats.libsvm.writer import check_labels, write_text
from bidnn.data.formats.writing import Block, Table, Writer
from bidnn.data.store import PairStore
from bidnn.errors import UserError


@dataclass(frozen=True, slots=True)
class Format:
    """A format that rows are written in.

    Attributes:
        source: which of SOURCES reads it.
        write: writes it.
        value_bytes: what one value takes, about.
        keeps_zeros: a zero takes as much as any value.
        second_waits: modalities are written one after the other, so that the second is twice on
            the disk for a while.
        keeps_ids: outputs of a model have ids in it; features have them in any.
        own_names: what outputs of a model call their columns in it, besides which they may have
            others; empty: they have no others.
        check_labels: raises ValueError for labels that it cannot hold; None: it holds any.
    """

    source: str
    write: Writer
    value_bytes: int
    keeps_zeros: bool
    second_waits: bool = False
    keeps_ids: bool = False
    own_names: tuple[str, ...] = ()
    check_labels: Callable[[NDArray[np.str_]], None] | None = None

    def room(
        self, store: PairStore, widths: tuple[int, int], *, joined: bool, files: int = 1
    ) -> int:
        """Bytes that are needed to write rows, about; what is present and their labels, too.

        Args:
            store: of which rows something is written.
            widths: columns of both halves.
            joined: the halves are one vector, see Table.
            files: how many such files there will be.
        """
        waiting = widths[1] if self.second_waits and not joined else 0
        values = (files * sum(widths) + waiting) * self.value_bytes
        texts = sum(int(t.dtype.itemsize) for t in (store.labels, store.ids) if t is not None)
        return len(store) * (values + files * (texts + 2))


def _write_parquet(
    path: Path, table: Table, blocks: Iterable[Block], *, zero_based: bool
) -> dict[str, Path]:
    # so late: pyarrow takes a tenth of a second, which other formats do without
    from bidnn.data.formats.tables.writer import write_parquet

    return write_parquet(path, table, blocks, zero_based=zero_based)


_NAMES = ("id", "embedding", "first", "second", "present_first", "present_second", "fingerprint")
FORMATS = {
    ".npz": Format(
        "npz",
        write_npz,
        4,
        keeps_zeros=True,
        second_waits=True,
        keeps_ids=True,
        own_names=(*_NAMES, "label", "present"),
    ),
    ".npy": Format("npy", write_npy, 4, keeps_zeros=True),
    ".parquet": Format(
        "table",
        _write_parquet,
        4,
        keeps_zeros=True,
        keeps_ids=True,
        own_names=(*_NAMES, "label"),
    ),
}
TEXT = Format("libsvm", write_text, 12, keeps_zeros=False, check_labels=check_labels)
NOT_WRITTEN = (
    ".arrow .feather .orc .avro .h5 .hdf5 .nc .mat .csv .tsv .json .jsonl .xls .xlsx .pkl "
    ".pickle .pt .pth .ckpt .safetensors .gz .bz2 .xz .zst .zip .tar"
)


def format_of(path: Path) -> Format:
    """The format that the name of a file to be written says; libsvm text if it says none.

    Raises:
        ValueError: if it is the name of a format that is not written.
    """
    suffix = path.suffix.lower()
    if suffix in NOT_WRITTEN.split():
        raise UserError(
            f"output.path={path}: {suffix} is not written; name it {', '.join(FORMATS)}, or .txt "
            "for libsvm text"
        )
    return FORMATS.get(suffix, TEXT)
