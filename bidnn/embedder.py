"""A trained model as a class that engines call with batches: Ray Data, `datasets.map`, a loop."""

import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bidnn.data.formats.arrays import store_arrays
from bidnn.errors import UserError
from bidnn.model.finishing import MissingStrategy
from bidnn.model.inference import embed
from bidnn.model.model import Model
from bidnn.model.saved import checkpoint_files, load_bundle
from bidnn.programs.devices import device_of

PROCESS = os.getpid()
"""That imported this file; in another one, it was forked since."""


class Embedder:
    """Takes a batch as a dict of columns, and gives the same batch with a column of embeddings.

    The rows stay in their order, and all their columns as they are. The model is read by each
    process when its first batch comes, so that the object itself can be sent to any:

        embedder = bidnn.Embedder("runs/mine", first="text", second="image")
        batch = embedder({"id": ids, "text": text, "image": image})

    With Ray Data, whose actors make one each (`concurrency` of them):

        rows = ray.data.read_parquet("rows/").map_batches(
            bidnn.Embedder,
            fn_constructor_kwargs={"checkpoint": "/shared/runs/mine", "first": "text"},
            batch_format="pyarrow",
            concurrency=4,
        )

    Ray gives a column of vectors to a function as a matrix, and where one of a batch is null as
    objects, and cannot put both together again; hence `batch_format="pyarrow"`.

    With Hugging Face's: `dataset.map(embedder, batched=True)`.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        *,
        first: str | None = "first",
        second: str | None = "second",
        output: str = "embedding",
        l2_norm: bool | None = None,
        missing: str | None = None,
        device: str = "auto",
    ) -> None:
        """Takes settings; nothing is read yet.

        Args:
            checkpoint: a run's folder, a checkpoint or a saved model, where all processes see it.
            first: the column of the first modality; rows of a batch without it all miss it, as they
                do with None.
            second: that of the second modality, likewise.
            output: the column that is added, or replaced.
            l2_norm: rows of unit length; None: as the model was saved.
            missing: `translate` or `duplicate`; None: as the model was trained.
            device: where it runs; `auto` takes a GPU when there is one.

        Raises:
            UserError: if there is no column of either modality, or no such strategy.
        """
        if first is None and second is None:
            raise UserError("Embedder: first=None and second=None: name a column of vectors")
        strategies = [strategy.value for strategy in MissingStrategy]
        if missing is not None and missing not in strategies:
            raise UserError(f"missing={missing}: choose one of {', '.join(strategies)}")
        self.checkpoint = Path(checkpoint).absolute()
        self.first, self.second, self.output = first, second, output
        self.l2_norm, self.missing, self.device = l2_norm, missing, device
        self._model: Model | None = None

    def __call__(self, batch: Any) -> Any:  # noqa: ANN401 — the one kind or the other
        """Embeds a batch.

        Args:
            batch: a dict of columns, each with an entry a row; or a `pyarrow.Table`. A column of
                vectors is a matrix (rows, size), or a list or an array of objects, of which each is
                a vector, or None or NaN where the row misses the modality, as does a row of NaN; in
                a table it is one of lists, or null.

        Returns:
            The batch, and under `output` (rows, rep) float32, lists of fixed size in a table; zero
            where both modalities are missing.

        Raises:
            UserError: naming the column that has other vectors than the model, or the row; or if
                the batch has neither column.
            FileNotFoundError: if there is no such model.
        """
        if os.getpid() != PROCESS:
            # A forked process, as `datasets.map(num_proc=…)` makes them, has no threads of OpenMP,
            # for which it would wait for ever; and processes beside each other need but one each.
            torch.set_num_threads(1)
        model = self._loaded()
        names, sizes = (self.first, self.second), (model.mod1size, model.mod2size)
        table = hasattr(batch, "column_names") and hasattr(batch, "set_column")
        if not table and not isinstance(batch, Mapping):
            raise UserError(
                f"Embedder: a batch of type {type(batch).__name__}; it takes a dict of columns or "
                "a pyarrow table, such as batch_format='numpy' or 'pyarrow' of Ray gives"
            )
        there = list(batch.column_names if table else batch)
        if not any(name in there for name in names):
            raise UserError(self._no_column(there))
        read = _table_matrix if table else _matrix
        parts = [
            None if name is None or name not in there else read(batch[name], size, name)
            for name, size in zip(names, sizes, strict=True)
        ]
        store = store_arrays(*parts, sizes=sizes, name="a batch")
        l2_norm = model.l2_norm if self.l2_norm is None else self.l2_norm
        vectors = embed(model, store, l2_norm=l2_norm)
        return self._added(batch, vectors) if table else {**batch, self.output: vectors}

    def _added(self, table: Any, vectors: NDArray[np.float32]) -> Any:  # noqa: ANN401 — of pyarrow
        from bidnn.data.formats.tables.writer import lists  # so late: it imports pyarrow

        if self.output not in table.column_names:
            return table.append_column(self.output, lists(vectors))
        place = table.column_names.index(self.output)
        return table.set_column(place, self.output, lists(vectors))

    def __getstate__(self) -> dict[str, Any]:
        """All but the model itself.

        The size and time of its file are in it, because `datasets` knows by this whether rows that
        it kept are still those of this model.
        """
        files = [file for file in checkpoint_files(self.checkpoint) if file.is_file()]
        states = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        return {**vars(self), "_model": None, "_files": states}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The settings; the model is read when the first batch comes."""
        state.pop("_files")
        vars(self).update(state)

    def _loaded(self) -> Model:
        if self._model is None:
            model = load_bundle(self.checkpoint).to(device_of(self.device))
            if self.missing is not None:
                model = model.with_missing(MissingStrategy(self.missing))
            self._model = model
        return self._model

    def _no_column(self, there: Sequence[str]) -> str:
        wanted = [name for name in (self.first, self.second) if name is not None]
        near = [found for name in wanted for found in get_close_matches(name, there, n=1)]
        hint = f"did you mean {near[0]}?" if near else "first= and second= name those of vectors"
        return f"Embedder: no column {' or '.join(wanted)} in a batch of {', '.join(there)}; {hint}"


def _matrix(values: Any, size: int, name: str) -> NDArray[np.float32]:  # noqa: ANN401 — a column of a batch
    """A column of vectors as (rows, size), NaN where there is none.

    Raises:
        UserError: naming the row of the batch whose entry is no vector of this size.
    """
    if isinstance(values, np.ndarray) and values.ndim == 2 and values.dtype.kind in "biuf":
        if values.shape[1] != size:
            raise UserError(_other_size(name, 0, f"a vector of {values.shape[1]} values", size))
        with np.errstate(over="ignore"):  # what is infinite then is refused by its row
            return values.astype(np.float32, copy=False)
    found = np.full((len(values), size), np.nan, np.float32)
    for row, value in enumerate(values):
        if value is None or (isinstance(value, float) and np.isnan(value)):
            continue
        try:
            with np.errstate(over="ignore"):
                vector = np.asarray(value, np.float32)
        except (TypeError, ValueError) as error:
            raise UserError(_other_size(name, row, f"no vector ({error})", size)) from error
        if vector.shape != (size,):
            what = f"a vector of {vector.size} values" if vector.ndim == 1 else "no vector"
            raise UserError(_other_size(name, row, what, size))
        found[row] = vector
    return found


def _table_matrix(column: Any, size: int, name: str) -> NDArray[np.float32]:  # noqa: ANN401 — a column of a batch
    """The same of a column of a pyarrow table."""
    from bidnn.data.formats.tables.columns import check_vectors, vectors

    check_vectors(column.type, f"column {name}")
    found, start = np.full((len(column), size), np.nan, np.float32), 0
    for chunk in column.chunks:
        where = partial(_row_of_batch, start)
        values, there = vectors(chunk, None, f"column {name}", where)
        if len(values) and values.shape[1] != size:
            row = start + int(np.argmax(there))
            raise UserError(_other_size(name, row, f"a vector of {values.shape[1]} values", size))
        if len(values):
            found[start : start + len(chunk)][there] = values
        start += len(chunk)
    return found


def _row_of_batch(start: int, row: int) -> str:
    return f"row {start + row} of a batch, counted from 0"


def _other_size(name: str, row: int, what: str, size: int) -> str:
    return (
        f"column {name}, row {row} of a batch, counted from 0: {what}; the model was trained on "
        f"vectors of {size}"
    )
