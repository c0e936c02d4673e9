"""What scikit-learn expects of an estimator, and both modalities as its one input."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bidnn.data.frames import CONTAINERS, as_rows
from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.original.config import Config


class Packed(np.ndarray[Any, Any]):
    """(rows, mod1size + mod2size): both modalities of some rows side by side, see `pack`.

    Attributes:
        mod1size: columns of the first modality, the first ones.
    """

    mod1size: int

    def __array_finalize__(self, whole: Any) -> None:  # noqa: ANN401 — NumPy's
        """Parts of it know, too, where the second modality begins."""
        self.mod1size = getattr(whole, "mod1size", 0)

    def __reduce__(self) -> tuple[Any, ...]:
        """So that it is the same in another process."""
        return _packed, (np.asarray(self), self.mod1size)


def _packed(values: NDArray[Any], mod1size: int) -> Packed:
    both: Packed = values.view(Packed)
    both.mod1size = mod1size
    return both


def pack(first: Any, second: Any) -> Packed:  # noqa: ANN401 — see `as_rows`
    """Both modalities as one input, for scikit-learn's pipelines, searches and validation.

    Args:
        first: (rows, mod1size), of any kind that `BiDNN.fit` takes but sparse; a row of NaN misses
            it.
        second: (rows, mod2size), likewise.

    Raises:
        UserError: if they are not as many rows, or sparse.
    """
    parts = []
    for name, part in (("first", first), ("second", second)):
        values = as_rows(part, name).values
        if not isinstance(values, np.ndarray) or values.ndim != 2:
            raise UserError(f"pack: {name} is {type(part).__name__}; a dense matrix is needed")
        hidden = np.ma.getmaskarray(values) if np.ma.isMaskedArray(values) else None
        plain = np.array(values, np.float32)
        if hidden is not None:
            plain[hidden] = np.nan
        parts.append(plain)
    if len(parts[0]) != len(parts[1]):
        raise UserError(f"pack: {len(parts[0])} and {len(parts[1])} rows; they are pairs")
    return _packed(np.hstack(parts), parts[0].shape[1])


def unpacked(
    first: Any,  # noqa: ANN401 — see `as_rows`
    second: Any,  # noqa: ANN401 — see `as_rows`
    mod1size: int | None,
    columns: int | None = None,
) -> tuple[Any, Any]:
    """Both modalities, of which `first` may have both side by side.

    Args:
        first: of `pack`, or a matrix as it was made of one by a step before, or one modality.
        second: the other modality; None, or labels, which scikit-learn passes on and are None
            then, where `first` has both.
        mod1size: columns of the first modality, if that is known.
        columns: of both together, where a matrix of fewer is one modality; None: any is both.
    """
    if isinstance(first, Packed):
        plain = np.asarray(first)
        return plain[:, : first.mod1size], plain[:, first.mod1size :]
    if second is not None and not _are_labels(second):
        return first, second
    if mod1size is None:
        return first, None
    whole = as_rows(first, "first").values
    if whole.ndim != 2 or (columns is not None and whole.shape[1] != columns):
        return first, second
    return whole[:, :mod1size], whole[:, mod1size:]


def _are_labels(values: Any) -> bool:  # noqa: ANN401 — see `as_rows`
    if type(values).__module__.partition(".")[0] in ("polars", "pyarrow", "torch"):
        return False
    try:
        plain = np.asarray(values)
    except ValueError:  # lists of several lengths, of which some may be None
        return False
    texts = plain.dtype.kind == "O" and all(isinstance(value, str) for value in plain.flat)
    return plain.ndim == 1 and (texts or plain.dtype.kind in "biufUS")


def check_declared(store: PairStore, config: Config, given: Collection[str]) -> None:
    """Refuses a number of columns that was declared and is not that of the rows.

    Args:
        store: the rows.
        config: with the declared sizes.
        given: names of the settings that somebody gave.

    Raises:
        UserError: naming the setting.
    """
    for name, part in (("mod1size", "first"), ("mod2size", "second")):
        declared, found = getattr(config, name), getattr(store, name)
        if name in given and declared not in (None, found):
            raise UserError(
                f"{name}={declared}: {part} has {found} columns; leave the setting out, or give "
                "rows that are as wide"
            )


class Conventions(ABC):
    """What scikit-learn asks an estimator for; parameters are what the constructor was given.

    Not derived from its BaseEstimator, whose import would take longer than torch's, of which an
    embedding has no use: whatever scikit-learn does with an estimator asks for these methods.
    """

    config: Config
    _params: dict[str, Any]
    _container: str

    def set_output(self, *, transform: str | None = None) -> Self:
        """Chooses what `transform` and `translate` give.

        Args:
            transform: `default`: frames for frames, arrays for what else there is; `pandas`,
                `polars` or `pyarrow`: always that; None changes nothing.

        Raises:
            UserError: if it is none of these.
        """
        if transform is not None and transform not in CONTAINERS:
            raise UserError(f"transform={transform}: choose one of {', '.join(CONTAINERS)}")
        self._container = transform or self._container
        return self

    @property
    def _output(self) -> str:
        """What is chosen, here or by `sklearn.set_config(transform_output=…)`."""
        if self._container != "default" or "sklearn" not in sys.modules:
            return self._container
        general: str = sys.modules["sklearn"].get_config()["transform_output"]
        return general

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """What the constructor was given, by name."""
        del deep  # settings hold no estimators
        return dict(self._params)

    def set_params(self, **params: Any) -> Self:  # noqa: ANN401 — of any setting
        """Changes settings; what was trained stays until the next `fit`.

        Raises:
            ValueError: if there is no such setting.
        """
        kept = dict(self._fitted())
        try:
            self.__init__(**{**self._params, **params})  # type: ignore[misc]  # of this very class
        except TypeError as error:
            raise ValueError(f"Invalid parameter: {error}") from error
        for name, value in kept.items():
            setattr(self, name, value)
        return self

    def score(self, first: Any, second: Any = None) -> float:  # noqa: ANN401 — as for `fit`
        """The share of variance that translations explain (R²), the mean of both directions.

        Args:
            first: as for `fit`, dense; rows with both modalities count.
            second: likewise.

        Raises:
            UserError: if no row has both modalities.
        """
        from sklearn.metrics import r2_score

        first, second = unpacked(first, second, self._sizes[0], sum(self._sizes))
        parts = [
            np.ma.filled(as_rows(part, name).values.astype(np.float32), np.nan)
            for name, part in (("first", first), ("second", second))
        ]
        both = ~(np.isnan(parts[0]).all(axis=1) | np.isnan(parts[1]).all(axis=1))
        if not both.any():
            raise UserError("score: no row has both modalities, between which it compares")
        first, second = (part[both] for part in parts)
        pairs = (
            (second, as_rows(self.translate(first=first), "second")),
            (first, as_rows(self.translate(second=second), "first")),
        )
        shares = [
            r2_score(part, found.values, multioutput="variance_weighted") for part, found in pairs
        ]
        return float(np.mean(shares))

    def _draw_seed(self) -> None:
        """Draws the seed of a training from NumPy's random numbers, if these were given."""
        state = self._params.get("random_state")
        if isinstance(state, np.random.RandomState | np.random.Generator):
            self.config = replace(self.config, seed=_drawn(state))

    @property
    @abstractmethod
    def _sizes(self) -> tuple[int, int]:
        """Columns of both modalities of the trained model."""

    @abstractmethod
    def translate(self, *, first: Any = None, second: Any = None) -> Any:  # noqa: ANN401 — see `as_rows`
        """Predicts the other modality."""

    @abstractmethod
    def _fitted(self) -> Mapping[str, Any]:
        """Attributes that a training leaves."""

    def __sklearn_is_fitted__(self) -> bool:
        """Whether it was trained or loaded."""
        return vars(self).get("_model") is not None

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401 — scikit-learn's
        """Rows may be missing, and sparse."""
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(preserves_dtype=["float32"]),
            input_tags=InputTags(allow_nan=True, sparse=True),
        )

    def __repr__(self) -> str:
        """As it was made, without what was left out."""
        given = (f"{name}={value!r}" for name, value in self._params.items() if value is not None)
        return f"{type(self).__name__}({', '.join(given)})"


def as_seed(random_state: Any) -> int:  # noqa: ANN401 — None, a number or NumPy's
    """A seed of scikit-learn's `random_state`; of NumPy's the next, which is not taken from it."""
    if random_state is None:
        return 0
    if isinstance(random_state, np.random.RandomState | np.random.Generator):
        return _drawn(deepcopy(random_state))
    try:
        return int(random_state)
    except OverflowError as error:
        raise ValueError(f"random_state={random_state}: a seed is a whole number") from error


def _drawn(state: np.random.RandomState | np.random.Generator) -> int:
    if isinstance(state, np.random.RandomState):
        return int(state.randint(2**31))
    return int(state.integers(2**31))


def not_fitted(message: str) -> Exception:
    """A RuntimeError, and scikit-learn's NotFittedError."""
    from sklearn.exceptions import NotFittedError

    class NotTrainedError(NotFittedError, RuntimeError):  # type: ignore[misc]  # untyped
        """Nothing is trained yet."""

    return NotTrainedError(message)
