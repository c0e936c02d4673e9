"""What all sources of rows have in common."""

from dataclasses import dataclass, fields
from enum import Enum
from math import prod
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
        first_shape: of the first modality as a picture, [height,width] or [height,width,3], its
            columns being the pixels line by line: a training shows translations as pictures.
        second_shape: of the second modality, likewise.
    """

    batch_size: int = 128
    shuffle: Shuffle = Shuffle.auto
    val_fraction: float | None = None
    missing_rate: float = 0.0
    missing_modality: Modality = Modality.either
    first_shape: list[int] | None = None
    second_shape: list[int] | None = None

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
        for key in ("first_shape", "second_shape"):
            shape = getattr(self, key)
            if shape is None:
                continue
            if len(shape) not in (2, 3) or min(shape) < 1 or [*shape, 1][2] not in (1, 3):
                raise UserError(
                    f"data.{key}={shape}: [height,width] of a grey picture, or [height,width,3]"
                )

    def check_shapes(self, sizes: tuple[int, int]) -> None:
        """Refuses shapes of pictures that are not of the rows.

        Args:
            sizes: columns of both modalities.

        Raises:
            UserError: naming the key and both numbers.
        """
        for name, size in zip(("first", "second"), sizes, strict=True):
            shape = getattr(self, f"{name}_shape")
            if shape is not None and prod(shape) != size:
                raise UserError(
                    f"data.{name}_shape={shape}: {prod(shape)} pixels, but the {name} modality has "
                    f"{size} columns"
                )

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
