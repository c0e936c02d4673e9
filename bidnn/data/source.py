"""What all sources of rows have in common."""

from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from typing import TypeVar

from bidnn.data.order import Shuffle
from bidnn.data.store import Modality, PairStore
from bidnn.errors import UserError

Choice = TypeVar("Choice", bound=Enum)


@dataclass(slots=True, kw_only=True)
class Source:
    """What all sources have in common; an own one is derived from it and has `open(sizes)`.

    Attributes:
        batch_size: rows of a batch, over all processes.
        val_fraction: share of the complete rows that is held out to validate on, in [0, 1); null: a
            twentieth of them, at most 1000, so that every training can say what it is worth.
        missing_rate: share of the complete rows that lose a modality before anything else
            happens, to measure what its absence costs; in [0, 1].
        missing_modality: the one they lose; `either`: a fair coin for each row.
        shuffle: `rows`, `blocks` for files that do not fit into memory, or `auto`; see Shuffle.
    """

    batch_size: int = 128
    shuffle: Shuffle = Shuffle.auto
    val_fraction: float | None = None
    missing_rate: float = 0.0
    missing_modality: Modality = Modality.either

    def __post_init__(self) -> None:
        """Refuses what is out of its range; choices may be given by their names.

        Raises:
            ValueError: naming the key.
        """
        self.shuffle = _choice(Shuffle, self.shuffle, "data.shuffle")
        self.missing_modality = _choice(Modality, self.missing_modality, "data.missing_modality")
        if self.batch_size < 1:
            raise UserError(f"data.batch_size={self.batch_size}: must be at least 1")
        if self.val_fraction is not None and not 0.0 <= self.val_fraction < 1.0:
            raise UserError(f"data.val_fraction={self.val_fraction}: must be in [0, 1)")
        if not 0.0 <= self.missing_rate <= 1.0:
            raise UserError(f"data.missing_rate={self.missing_rate}: a share of rows, in [0, 1]")

    def open_validation(self, sizes: tuple[int, int] | None) -> PairStore | None:
        """Rows to validate on, if a source has such; others hold `val_fraction` of the rows out."""
        del sizes
        return None

    @property
    def validation_keys(self) -> list[str]:
        """The keys given that say what to validate on; all such keys begin with `val_`."""
        own = (field.name for field in fields(self) if field.name.startswith("val_"))
        return [f"data.{name}" for name in own if getattr(self, name)]


def required_path(value: str | None, key: str) -> Path:
    """The path, or an error that names the key.

    Raises:
        ValueError: if it is not given.
    """
    if value is None:
        raise UserError(f"{key} is not given; {key}=FILE says where the features are")
    return Path(value)


def _choice(kind: type[Choice], value: Choice | str, key: str) -> Choice:
    """A choice that may be given by its name, as settings of an own source give it."""
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(str(member.value) for member in kind)
        raise UserError(f"{key}={value}: choose one of {known}") from None
