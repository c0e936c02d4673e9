"""The rows of a run that its report looks at: a sample, and those that trained or did not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bidnn.data.remote import with_local_files
from bidnn.data.sources import AnySource, read_alike
from bidnn.data.store import PairStore

BYTES = 128 * 2**20
"""Of the rows that are looked at, dense: of very wide ones there are fewer."""
LEAST = 50


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a training as it split them.

    Attributes:
        store: all of them.
        trained: numbers of the complete rows that trained.
        held: numbers of the complete rows that did not, in `held_store`.
        held_store: the same store, or that of rows to validate on.
    """

    store: PairStore
    trained: NDArray[np.int64]
    held: NDArray[np.int64]
    held_store: PairStore

    @classmethod
    def of(
        cls,
        settings: Mapping[str, Any],
        source: AnySource,
        store: PairStore,
        validation: PairStore | None = None,
    ) -> "Rows":
        """Splits them as the training did.

        Args:
            settings: of the run, nested.
            source: where its rows come from.
            store: the rows.
            validation: those that it validated on; None: of the source, if it has such.

        Raises:
            UserError, OSError: if rows to validate on cannot be read.
        """
        # Lightning, which takes seconds to import, is there already at the end of a training.
        from bidnn.data.datamodule import PairDataModule
        from bidnn.training.starting import share_held

        other = validation
        if other is None:
            local = read_alike(with_local_files(source, validation=True), store.reading)
            other = local.open_validation((store.mod1size, store.mod2size))
        trainer = settings.get("trainer") or {}
        trains = not any(trainer.get(key) == 0 for key in ("max_epochs", "max_steps"))
        split = PairDataModule(
            store,
            batch_size=1,
            seed=int(settings["seed"]),
            trains=trains and bool(store.is_complete.any()),
            val_fraction=share_held(source.val_fraction, store, other=other is not None),
            val_store=other,
        )
        return cls(store, split.complete_rows, split.val_rows, split.val_store)


def some(
    rows: NDArray[np.int64], most: int, store: PairStore, generator: np.random.Generator
) -> NDArray[np.int64]:
    """At most so many of these rows at random, fewer of wide ones, ascending."""
    most = min(most, max(LEAST, store.rows_in(BYTES)))
    return rows if len(rows) <= most else np.sort(generator.choice(rows, most, replace=False))


def part(store: PairStore, rows: NDArray[np.int64]) -> PairStore:
    """Those rows alone, dense, with their ids and labels."""
    return PairStore(
        *store.take(rows),
        store.present[rows],
        None if store.labels is None else store.labels[rows],
        store.name,
        ids=None if store.ids is None else store.ids[rows],
    )
