"""Rows written as a file of libsvm text."""

import logging
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bidnn.data.formats.libsvm.text import write_libsvm
from bidnn.data.formats.sidecar import id_lines
from bidnn.data.formats.writing import Block, Table, join
from bidnn.files import is_stream, whole_file

log = logging.getLogger(__name__)


def check_labels(labels: NDArray[np.str_]) -> None:
    """Finds out, before anything is written, whether `write_text` can write such labels.

    Raises:
        ValueError: naming the first that it cannot.
    """
    from bidnn.data.formats.libsvm.arrow import check_label  # so late: as in write_libsvm

    for row, label in enumerate(labels):
        check_label(str(label), row)


def write_text(
    path: Path, table: Table, blocks: Iterable[Block], *, zero_based: bool
) -> dict[str, Path]:
    """Both halves side by side; a row without label gets 0. See Writer for the rest.

    The ids of features are a text beside it, `FILE.ids`, unless it is a device or a pipe.

    A missing modality is left out, as all zeros are; if features hold zeros that are no missing
    modality, a warning says so.
    """
    empty, files = 0, {"path": path}
    with ExitStack() as stack:
        if table.ids is not None and table.features and not is_stream(path):
            files["ids"] = path.with_name(f"{path.name}.ids")
            lines = id_lines(table.ids, str(files["ids"]))
            stack.enter_context(whole_file(files["ids"])).write(lines)
        file = stack.enter_context(whole_file(path))
        for rows, left, right in blocks:
            for modality, values in enumerate((left, right)):
                empty += int((table.present[rows, modality] & ~values.any(axis=1)).sum())
            labels = np.full(len(left), "0") if table.labels is None else table.labels[rows]
            write_libsvm(file, join(left, right), labels, zero_based=zero_based)
    if empty and table.features:
        log.warning(
            "%d modalities of rows are present but all zero, which libsvm text cannot tell from "
            "missing; read it with data.ignore_zeroes=true, or write npz",
            empty,
        )
    return files
