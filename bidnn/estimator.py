"""The Python interface: the original's verbs, and scikit-learn's, on one class."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from copy import copy
from dataclasses import fields, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidnn.conventions import Conventions, as_seed, check_declared, not_fitted, unpacked
from bidnn.data.formats.arrays import store_arrays
from bidnn.data.frames import Rows, as_rows, check_columns, contain, same_ids
from bidnn.data.store import PairStore, Reading
from bidnn.errors import UserError
from bidnn.model.about import as_told, l2_norm_of
from bidnn.model.finishing import MissingStrategy
from bidnn.model.inference import Block, OutputKind, check_sizes, embed, infer
from bidnn.model.model import Model
from bidnn.model.outputs import check_replaces_nothing, widths
from bidnn.model.saved import reading_of
from bidnn.original.config import FIELDS, Config
from bidnn.original.rows import read_rows
from bidnn.original.saved import load_model, save_model
from bidnn.original.settings import as_settings, settings_of
from bidnn.original.verbosity import said
from bidnn.publishing.shared import Shared
from bidnn.training.config import TrainConfig

if TYPE_CHECKING:
    from lightning import Callback
TOP_LEVEL = (*(field.name for field in fields(TrainConfig)), "size", "tying")
"""Settings and groups of `bidnn train` that have no dot in their name."""
MODALITIES = ("first", "second")
RECIPE, PAPER = "incomplete", "paper"


class BiDNN(Conventions, Shared):
    """Trains on pairs, embeds and translates rows that may miss either modality.

    scikit-learn's way, with arrays; the training starts from a recipe of conf/experiment, and every
    setting of conf/ can be given, its dots written as two underscores:

        net = BiDNN(hdn=256, rep=128, epochs=200).fit(first, second)
        net = BiDNN(recipe="crossmodal", loss__alignment=0.1, optimizer="adamw").fit(first, second)
        z = net.transform(first, second)
        second_from_first = net.translate(first=first)

    After a training, `metrics` has the last value of all that was measured, and `history_` what was
    logged of its epochs: by name, a value for each number in `epoch` (of long trainings at most
    512), NaN where there is none.

    The original's way, with files or a sparse matrix; it starts from the paper:

        net = BiDNN(Config(mod1size=100, mod2size=4096, hdn=2048, rep=2048))
        net.load_dataset(X)
        net.train()
        out = net.predict()
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        recipe: str | None = None,
        config_dir: str | Path | None = None,
        random_state: Any = None,  # noqa: ANN401 — see `as_seed`
        **settings: Any,  # noqa: ANN401 — of any setting's type
    ) -> None:
        """Takes settings; nothing is read or built yet.

        Args:
            config: the original's settings; those that differ from the defaults count as given.
            recipe: a file of conf/experiment; None: `incomplete` for `fit`, `paper` for `train`.
            config_dir: a folder of your own recipes, choices and classes, as `--config-dir` of the
                programs (docs/extending.md).
            random_state: scikit-learn's name for `seed`; from NumPy's, each training draws one.
            **settings: fields of Config, or settings of `bidnn train`: a key, its dots as two
                underscores (`optimizer__lr=0.01`, or `**{"optimizer.lr": 0.01}`), or a group
                (`loss="incomplete"`). `run_dir` names a folder for checkpoints, metrics and
                outputs; without it, nothing is written.

        Raises:
            TypeError: if there is no such setting, or a seed is given twice.
        """
        named = {"config": config, "recipe": recipe, "config_dir": config_dir}
        named["random_state"] = random_state
        self._params = {**named, **settings}
        if random_state is not None:
            if "seed" in settings:
                raise TypeError("BiDNN: random_state and seed are the same; give one")
            settings["seed"] = as_seed(random_state)
        for name in settings:
            if name not in (*FIELDS, *TOP_LEVEL) and "__" not in name and "." not in name:
                near = get_close_matches(name, [*FIELDS, *TOP_LEVEL, *named], n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise TypeError(f"BiDNN has no setting {name}{hint}")
        base = config or Config()
        known = {name: value for name, value in settings.items() if name in FIELDS}
        self.config = replace(base, **known)
        self.recipe = recipe
        self.config_dir = None if config_dir is None else Path(config_dir)
        changed = {n for n in FIELDS if getattr(base, n) != getattr(Config(), n)}
        self._given = changed | set(known)
        self._settings = {
            name.replace("__", "."): value for name, value in settings.items() if name not in FIELDS
        }
        self._store: PairStore | None = None
        self._model: Model | None = None
        self._origin = None
        self._metrics: dict[str, float] = {}
        self._columns: tuple[tuple[str, ...] | None, ...] = (None, None)
        self._container = "default"

    @property
    def metrics(self) -> dict[str, float]:
        """What the last training logged last, by name; `explained/…` on held-out rows."""
        return dict(self._metrics)

    def load_dataset(
        self,
        X: Any = None,  # noqa: ANN401, N803 — scikit-learn's name, see `as_rows`
        labels: ArrayLike | None = None,
        ids: ArrayLike | None = None,
    ) -> Self:
        """Takes the rows to train on and to predict.

        Args:
            X: (rows, mod1size + mod2size) sparse or dense, or a frame, the modalities side by side,
                a row of zeros (or of NaN) being a missing modality; None reads the libsvm file
                `fname_in`.
            labels: (rows,), kept for the output files.
            ids: (rows,) texts or whole numbers, no two alike, likewise; of a file, too.

        Raises:
            UserError: if sizes are not set, X has others, or ids do not fit.
            OSError: if the file cannot be read.
        """
        if X is None:
            self._check_outputs()
        known = self._model.reading if self._model else Reading()
        if self.config.load_model and X is None:
            known = reading_of(Path(self.config.load_model))
        self._store = read_rows(self._sized_config(), X, labels, known.index_base, ids)
        return self

    def train(self) -> Self:
        """Trains, and writes what `fname_out`, `save_model` and `exec_command` ask for.

        Raises:
            UserError: if there are no rows, or a setting is out of its range.
            OSError: if an output cannot be written; found out before training.
        """
        self._draw_seed()
        given = {name: getattr(self.config, name) for name in FIELDS}
        if self.config.missing is None:
            given["missing"] = MissingStrategy.duplicate.value  # as published
        self._check_outputs()
        self._train(self._rows(), self.recipe or PAPER, given)
        return self

    def predict(self, X: Any = None) -> NDArray[np.float32]:  # noqa: ANN401, N803 — likewise
        """Rows embedded, (rows, rep), or with `crossmodal` completed.

        Args:
            X: as for `load_dataset`, or of `pack`; None: its rows.

        Raises:
            UserError: if X has other columns than in training.
            RuntimeError: if nothing was trained or loaded, or there are no rows.
        """
        rows = self._rows() if X is None else self._taken(X)[1]
        kind = OutputKind.crossmodal if self.config.crossmodal else OutputKind.embedding
        blocks = infer(self._trained(), rows, kind, l2_norm=self.config.l2_norm)
        width = sum(widths(self._trained(), kind))
        return np.concatenate([np.empty((0, width), np.float32), *map(_row, blocks)])

    def fit(
        self,
        first: Any,  # noqa: ANN401 — see `as_rows`
        second: Any = None,  # noqa: ANN401 — see `as_rows`
        *,
        ids: ArrayLike | None = None,
        validation: tuple[Any, Any] | None = None,
        callbacks: Sequence["Callback"] = (),
    ) -> Self:
        """Trains on the rows in which both modalities are there, or as the recipe says.

        Args:
            first: (rows, mod1size) array, sparse matrix, tensor or lists; or a frame or table, of
                numbers or with one column of vectors (`bidnn.data.frames.as_rows`); a row of NaN or
                null, or masked, is missing.
            second: (rows, mod2size) likewise; None, or labels: `first` has both, see `pack`.
            ids: (rows,) texts or whole numbers, no two alike, kept for `fname_out`; None: those of
                a pandas index or a column `id`, if there is one.
            validation: first and second, likewise, to validate on; None: a twentieth of the
                complete rows, or as `data__val_fraction` says.
            callbacks: Lightning's, or your own.

        Raises:
            UserError: if the rows do not fit, no row is complete, or a setting is out of range.
        """
        declared = self.config.mod1size if "mod1size" in self._given else None
        first, second = unpacked(first, second, declared)
        if second is None:
            raise UserError(
                "fit takes both modalities: fit(first, second), or side by side fit(pack(first, "
                "second)), or fit(X) of BiDNN(mod1size=…)"
            )
        rows = as_rows(first, "first"), as_rows(second, "second")
        known = same_ids(*rows) if ids is None else ids
        store = store_arrays(rows[0].values, rows[1].values, ids=known)
        check_declared(store, self.config, self._given)
        self._draw_seed()
        others = None
        if validation is not None:
            held = [
                as_rows(part, f"validation, {name}")
                for part, name in zip(validation, MODALITIES, strict=True)
            ]
            others = store_arrays(held[0].values, held[1].values, name="validation")
        self.n_features_in_ = store.mod1size + store.mod2size
        given = {name: getattr(self.config, name) for name in self._given}
        self._train(store, self.recipe or RECIPE, given, callbacks, others)
        self._columns = rows[0].columns, rows[1].columns
        return self

    def transform(
        self,
        first: Any = None,  # noqa: ANN401 — see `as_rows`
        second: Any = None,  # noqa: ANN401 — see `as_rows`
        *,
        missing: str | None = None,
    ) -> Any:  # noqa: ANN401 — as it came
        """Embeds rows.

        Args:
            first: (rows, mod1size); rows of NaN are missing; None: all are.
            second: (rows, mod2size); likewise.
            missing: translate or duplicate; None: as the model was trained.

        Returns:
            (rows, rep) float32; zero where both modalities are missing. For a frame, a frame with
            its ids (see `set_output`).

        Raises:
            UserError: if the columns are not those of the training.
            RuntimeError: if nothing was trained or loaded.
        """
        model = self._trained()
        if missing is not None:
            model = model.with_missing(_strategy(missing))
        rows, store = self._taken(first, second)
        values = embed(model, store, l2_norm=self.config.l2_norm)
        return contain(values, rows, list(self.get_feature_names_out()), "embedding", self._output)

    def fit_transform(self, first: Any, second: Any = None, **more: Any) -> Any:  # noqa: ANN401 — see `as_rows`
        """`fit`, then `transform` of the same rows."""
        return self.fit(first, second, **more).transform(first, second)

    def get_feature_names_out(self, input_features: object = None) -> NDArray[Any]:
        """Names of the embedding's columns in a frame: bidnn0, bidnn1, …, as in scikit-learn."""
        del input_features
        size = sum(widths(self._trained(), OutputKind.embedding))
        return np.array([f"bidnn{number}" for number in range(size)], dtype=object)

    def translate(
        self,
        *,
        first: Any = None,  # noqa: ANN401 — see `as_rows`
        second: Any = None,  # noqa: ANN401 — see `as_rows`
    ) -> Any:  # noqa: ANN401 — as it came
        """Predicts the other modality.

        Args:
            first: (rows, mod1size), or
            second: (rows, mod2size); one of the two; a row of NaN gives a row of zeros.

        Returns:
            The other modality, (rows, mod2size) or (rows, mod1size), in the units of the training
            data (of unit length with `scaling=unit`); for a frame, a frame with its ids.

        Raises:
            TypeError: unless exactly one modality is given.
            UserError: if it has other columns than in training.
            RuntimeError: if nothing was trained or loaded.
        """
        if (first is None) == (second is None):
            raise TypeError("translate takes either first= or second=")
        model = self._trained()
        rows, store = self._taken(first, second)
        side, name = (1, "second") if second is None else (0, "first")
        blocks = infer(model, store, OutputKind.crossmodal)
        size = (model.mod1size, model.mod2size)[side]
        none = np.empty((0, size), np.float32)
        values = np.concatenate([none, *(block[1 + side] for block in blocks)])
        names = self._columns[side] or [f"{name}{number}" for number in range(size)]
        return contain(values, rows, names, name, self._output)

    def as_told(self, told: Mapping[str, str], name: str) -> Self:
        """The same model, which embeds as some rows were: their `missing` and unit length.

        Args:
            told: what a parquet file, or an index, says of its model.
            name: of the file, for messages.

        Raises:
            UserError: if those are of another model.
            RuntimeError: if nothing was trained or loaded.
        """
        model = as_told(self._trained(), told, name)
        l2_norm = l2_norm_of(told, self.config.l2_norm)
        if model is self._model and l2_norm == self.config.l2_norm:
            return self
        other = copy(self)
        other._model, other.config = model, replace(self.config, l2_norm=l2_norm)
        return other

    def save(self, path: str | Path) -> None:
        """Writes the trained model, for `bidnn.load`.

        Args:
            path: `.npz` is a model file of the original, which holds weights alone: l2_norm,
                ignore_zeroes and where indices start are said again when it is used; anything else
                is ours.

        Raises:
            RuntimeError: if nothing was trained or loaded.
            UserError: if the original's format cannot hold the model.
            OSError: if the file cannot be written.
        """
        save_model(Path(path), self._trained())

    @classmethod
    def _of(cls, model: Model, origin: Path) -> Self:
        net = cls(mod1size=model.mod1size, mod2size=model.mod2size, **settings_of(model))
        net._model, net._origin = model, origin.absolute()
        return net

    def _train(
        self,
        store: PairStore,
        recipe: str,
        given: Mapping[str, Any],
        callbacks: Sequence["Callback"] = (),
        validation: PairStore | None = None,
    ) -> None:
        # Lightning and Hydra are a second of starting, which embedding does without.
        from bidnn.programs.quoting import setting
        from bidnn.programs.report import report_on
        from bidnn.programs.settings import compose_training, split_settings
        from bidnn.publishing.facts import Training
        from bidnn.training.advice import PYTHON
        from bidnn.training.callbacks.write_model import WriteModel
        from bidnn.training.fit import ALONE, fit, quiet_lightning
        from bidnn.training.given import Given
        from bidnn.training.record import describe_data

        values, words = as_settings(given)
        own = [] if self.config_dir is None else [self.config_dir]
        choices, values = split_settings(values | self._settings, own)
        fixed = [f"experiment={recipe}", "data=arrays", "callbacks.report=null"]
        if "run_dir" not in values:
            fixed += ["run_dir=null", "logger=none"]
        if self.config.verbosity < 3:
            fixed.append("callbacks.progress=null")
        if self.config.fname_out is None:
            fixed.append("output.path=null")
        with ExitStack() as stack:
            stack.enter_context(ALONE)
            composed = partial(compose_training, values=values, words=words, folders=own)
            training = composed([*fixed, *choices])
            own_folder = training.run_dir is not None
            if training.run_dir is None and training.callbacks.get("best"):  # a file, for a while
                folder = stack.enter_context(TemporaryDirectory(prefix="bidnn-"))
                fixed[fixed.index("run_dir=null")] = setting("run_dir", folder)
                training = composed([*fixed, *choices])
            more: list[Callback] = list(callbacks)
            if self.config.save_model:
                more.append(WriteModel(self.config.save_model, training.output))
            quiet_lightning()
            reading = replace(store.reading, ignore_zeroes=self.config.ignore_zeroes)
            store = replace(store, reading=reading)
            stack.enter_context(said(self.config.verbosity))
            chosen = Given.of([*choices, *(f"{key}={value}" for key, value in values.items())])
            fitted = fit(
                training,
                store,
                callbacks=more,
                words=PYTHON,
                validation=validation,
                chosen=chosen,
            )
            if own_folder:
                report_on(training, fitted, training.data, store, PYTHON, validation)
        self._model, self._metrics = fitted.model, fitted.metrics
        self.history_ = fitted.history.columns()
        self._origin = Training.of_rows(describe_data(store), fitted.metrics)

    def _check_outputs(self) -> None:
        """Refuses files that would replace what is read; a model may go on under its name."""
        config = self.config
        for name, read in (
            ("fname_out", [config.fname_in, config.load_model]),
            ("save_model", [config.fname_in]),
        ):
            written = getattr(config, name)
            if written:
                files = [file for file in read if file]
                check_replaces_nothing(written, config.write_after, files, name)

    def _sized_config(self) -> Config:
        """The settings, with the model's sizes where none are given."""
        if self._model is None or self.config.mod1size is not None:
            return self.config
        first, second = self._sizes
        return replace(self.config, mod1size=first, mod2size=second)

    def _rows(self) -> PairStore:
        if self._store is None:
            raise RuntimeError("no rows yet; call load_dataset first")
        return self._store

    def _taken(
        self,
        first: Any = None,  # noqa: ANN401 — see `as_rows`
        second: Any = None,  # noqa: ANN401 — see `as_rows`
    ) -> tuple[list[Rows | None], PairStore]:
        """Rows to embed, of one modality or both; one that is None is missing in all of them."""
        model = self._trained()
        both = model.mod1size + model.mod2size
        first, second = unpacked(first, second, model.mod1size, both)
        if first is None and second is None:
            raise UserError("no rows: give first, second, or both")
        rows: list[Rows | None] = []
        for name, part, names in zip(MODALITIES, (first, second), self._columns, strict=True):
            rows.append(None if part is None else as_rows(part, name))
            if rows[-1] is not None:
                check_columns(rows[-1], names, name)
        same_ids(*rows)
        given = (None if part is None else part.values for part in rows)
        store = store_arrays(*given, sizes=(model.mod1size, model.mod2size))
        check_sizes(model, store)
        return rows, store

    @property
    def _sizes(self) -> tuple[int, int]:
        return self._trained().mod1size, self._trained().mod2size

    def _fitted(self) -> Mapping[str, Any]:
        left = ("_store", "_model", "_origin", "_metrics", "_columns", "_container")
        names = (*left, "n_features_in_", "history_")
        return {name: vars(self)[name] for name in names if name in vars(self)}

    def _trained(self) -> Model:
        if self._model is None:
            raise not_fitted("nothing is trained yet; call train or fit, or use bidnn.load")
        return self._model


def load(path: str | Path, *, act: str = "tanh") -> BiDNN:
    """A trained model from a file of `BiDNN.save`, a folder of `save_pretrained`, or a run.

    Args:
        path: the file or folder, a run's too, or a checkpoint; `.npz` is a model file of the
            original.
        act: the activation that a model of the original was trained with; its file does not say.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: if it is no model, damaged, or altered.
    """
    return BiDNN._of(load_model(Path(path), act), Path(path))


def _strategy(value: str) -> MissingStrategy:
    try:
        return MissingStrategy(value)
    except ValueError:
        known = ", ".join(member.value for member in MissingStrategy)
        raise UserError(f"missing={value}: choose one of {known}") from None


def _row(block: Block) -> NDArray[np.float32]:
    return np.concatenate([block.left, block.right], axis=1)
