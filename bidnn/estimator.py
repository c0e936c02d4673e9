"""The Python interface: the original's verbs, and scikit-learn's, on one class."""

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from bidnn.architecture import Activation
from bidnn.data.formats.arrays import label_texts, store_arrays
from bidnn.data.formats.libsvm.grammar import IndexBase
from bidnn.data.sources import open_libsvm, split_store
from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.files import check_not_read
from bidnn.model.finishing import STRATEGIES, MissingStrategy
from bidnn.model.inference import Block, OutputKind, check_sizes, embed, infer
from bidnn.model.model import Model
from bidnn.model.saved import describe_model, load_bundle, save_bundle
from bidnn.original.config import FIELDS, Config
from bidnn.original.model_file import original_network, read_model, write_model

if TYPE_CHECKING:
    from lightning import Callback

LEVELS = (logging.ERROR, logging.WARNING, logging.INFO, logging.INFO)
FOREIGN = (".npy", ".txt", ".parquet", ".h5", ".hdf5", ".mat", ".csv", ".json", ".safetensors")
TOP_LEVEL = (
    *("activation", "callbacks", "checkpoint", "data", "embedding", "logger", "loss", "missing"),
    *("model", "objective", "optimizer", "output", "resume", "run_dir", "scaling", "seed", "size"),
    *("speed", "trainer", "tying"),
)
"""Settings and groups of `bidnn train` that have no dot in their name."""
RECIPE, PAPER = "incomplete", "paper"


class BiDNN:
    """Trains on pairs, embeds and translates rows that may miss either modality.

    scikit-learn's way, with arrays; the training starts from a recipe of conf/experiment, and every
    setting of conf/ can be given, its dots written as two underscores:

        net = BiDNN(hdn=256, rep=128, epochs=200).fit(first, second)
        net = BiDNN(recipe="crossmodal", loss__alignment=0.1, optimizer="adamw").fit(first, second)
        z = net.transform(first, second)
        second_from_first = net.translate(first=first)

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
        **settings: Any,  # noqa: ANN401 — of any setting's type
    ) -> None:
        """Takes settings; nothing is read or built yet.

        Args:
            config: the original's settings; those that differ from the defaults count as given.
            recipe: a file of conf/experiment; None: `incomplete` for `fit`, `paper` for `train`.
            **settings: fields of Config, or settings of `bidnn train`: a key, its dots as two
                underscores (`optimizer__lr=0.01`, or `**{"optimizer.lr": 0.01}`), or a group
                (`loss="incomplete"`). `run_dir` names a folder for checkpoints, metrics and
                outputs; without it, nothing is written.

        Raises:
            TypeError: if there is no such setting.
        """
        for name in settings:
            if name not in (*FIELDS, *TOP_LEVEL) and "__" not in name and "." not in name:
                near = get_close_matches(name, [*FIELDS, *TOP_LEVEL], n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise TypeError(f"BiDNN has no setting {name}{hint}")
        base = config or Config()
        known = {name: value for name, value in settings.items() if name in FIELDS}
        self.config = dataclasses.replace(base, **known)
        self.recipe = recipe
        changed = {n for n in FIELDS if getattr(base, n) != getattr(Config(), n)}
        self._given = changed | set(known)
        self._settings = {
            name.replace("__", "."): value for name, value in settings.items() if name not in FIELDS
        }
        self._store: PairStore | None = None
        self._model: Model | None = None
        self._metrics: dict[str, float] = {}

    @property
    def metrics(self) -> dict[str, float]:
        """What the last training logged last, by name; `explained/…` on held-out rows."""
        return dict(self._metrics)

    def load_dataset(self, X: Any = None, labels: ArrayLike | None = None) -> Self:  # noqa: ANN401, N803
        """Takes the rows to train on and to predict.

        Args:
            X: (rows, mod1size + mod2size) sparse or dense, the modalities side by side, a row of
                zeros (or of NaN) being a missing modality; None reads the libsvm file `fname_in`.
            labels: (rows,), kept for the output files.

        Raises:
            UserError: if sizes are not set, or X has others.
            OSError: if the file cannot be read.
        """
        config = self.config
        if config.mod1size is None or config.mod2size is None:
            raise UserError("mod1size and mod2size are not set; Config(mod1size=…, mod2size=…)")
        sizes = (config.mod1size, config.mod2size)
        zeroes = config.ignore_zeroes
        if X is None:
            if config.fname_in is None:
                raise UserError("no rows: give load_dataset a matrix, or set fname_in")
            path = Path(config.fname_in)
            self._store = open_libsvm(path, *sizes, IndexBase.auto, ignore_zeroes=zeroes)
            return self
        if X.shape[1] != sum(sizes):
            raise UserError(f"X has {X.shape[1]} columns, not {sizes[0]} + {sizes[1]}")
        text = None if labels is None else label_texts(labels, "labels")
        if sparse.issparse(X):
            rows = sparse.csr_array(X, dtype=np.float32)
            parts = rows[:, : sizes[0]], rows[:, sizes[0] :]
            self._store = split_store(parts, text, ignore_zeroes=zeroes, name="X")
        else:
            first, second = np.hsplit(_matrix(X), [sizes[0]])
            self._store = store_arrays(first, second, labels=text, ignore_zeroes=zeroes, name="X")
        return self

    def train(self) -> Self:
        """Trains, and writes what `fname_out`, `save_model` and `exec_command` ask for.

        Raises:
            UserError: if there are no rows, or a setting is out of its range.
            OSError: if an output cannot be written; found out before training.
        """
        given = {name: getattr(self.config, name) for name in FIELDS}
        if self.config.missing is None:
            given["missing"] = MissingStrategy.duplicate.value  # as published
        for name in ("fname_out", "save_model"):
            written = getattr(self.config, name)
            if written and self.config.fname_in:
                last = Path(written.replace("%e", "final"))
                check_not_read(last, [self.config.fname_in], name)
        self._train(self._rows(), self.recipe or PAPER, given)
        return self

    def predict(self) -> NDArray[np.float32]:
        """The rows of `load_dataset`, embedded (rows, rep), or with `crossmodal` completed."""
        kind = OutputKind.crossmodal if self.config.crossmodal else OutputKind.embedding
        blocks = infer(self._trained(), self._rows(), kind, l2_norm=self.config.l2_norm)
        return np.concatenate([_row(block) for block in blocks])

    def fit(
        self, first: ArrayLike, second: ArrayLike, *, callbacks: Sequence["Callback"] = ()
    ) -> Self:
        """Trains on the rows in which both modalities are there, or as the recipe says.

        Args:
            first: (rows, mod1size) array or sparse matrix; a row of NaN, or masked, is missing.
            second: (rows, mod2size) likewise.
            callbacks: Lightning's, or your own.

        Raises:
            UserError: if the rows do not fit, no row is complete, or a setting is out of range.
        """
        store = store_arrays(_matrix(first), _matrix(second))
        self.config = dataclasses.replace(
            self.config, mod1size=store.mod1size, mod2size=store.mod2size
        )
        given = {name: getattr(self.config, name) for name in self._given}
        self._train(store, self.recipe or RECIPE, given, callbacks)
        return self

    def transform(
        self,
        first: ArrayLike | None = None,
        second: ArrayLike | None = None,
        *,
        missing: str | None = None,
    ) -> NDArray[np.float32]:
        """Embeds rows.

        Args:
            first: (rows, mod1size); rows of NaN are missing; None: all are.
            second: (rows, mod2size); likewise.
            missing: translate or duplicate; None: as the model was trained.

        Returns:
            (rows, rep) float32; zero where both modalities are missing.

        Raises:
            UserError: if the columns are not those of the training.
            RuntimeError: if nothing was trained or loaded.
        """
        model = self._trained()
        if missing is not None:
            model = model.with_missing(_strategy(missing))
        return embed(model, _pair(model, first, second), l2_norm=self.config.l2_norm)

    def fit_transform(self, first: ArrayLike, second: ArrayLike) -> NDArray[np.float32]:
        """`fit`, then `transform` of the same rows."""
        return self.fit(first, second).transform(first, second)

    def translate(
        self, *, first: ArrayLike | None = None, second: ArrayLike | None = None
    ) -> NDArray[np.float32]:
        """Predicts the other modality.

        Args:
            first: (rows, mod1size), or
            second: (rows, mod2size); one of the two; a row of NaN gives a row of zeros.

        Returns:
            The other modality, (rows, mod2size) or (rows, mod1size), in the units of the training
            data.

        Raises:
            TypeError: unless exactly one modality is given.
            UserError: if it has other columns than in training.
            RuntimeError: if nothing was trained or loaded.
        """
        if (first is None) == (second is None):
            raise TypeError("translate takes either first= or second=")
        model = self._trained()
        blocks = infer(model, _pair(model, first, second), OutputKind.crossmodal)
        return np.concatenate([block.left if first is None else block.right for block in blocks])

    def save(self, path: str | Path) -> None:
        """Writes the trained model, for `bidnn.load`.

        Args:
            path: `.npz` is a model file of the original; anything else ours.

        Raises:
            RuntimeError: if nothing was trained or loaded.
            UserError: if the original's format cannot hold the model.
            OSError: if the file cannot be written.
        """
        path, model = Path(path), self._trained()
        if path.suffix in FOREIGN:
            raise UserError(
                f"{path}: {path.suffix} is another program's format; a model is .pt, or .npz for "
                "the original's program"
            )
        if path.suffix == ".npz":
            if model.missing is not MissingStrategy.duplicate and model.strategies == STRATEGIES:
                raise UserError(
                    f"{path}: the original's model files are loaded with missing=duplicate, not "
                    f"missing={model.missing.value}; train with that, or save as .pt"
                )
            write_model(path, original_network(path, model))
        else:
            save_bundle(path, model)

    def _train(
        self,
        store: PairStore,
        recipe: str,
        given: Mapping[str, Any],
        callbacks: Sequence["Callback"] = (),
    ) -> None:
        # Lightning and Hydra are a second of starting, which embedding does without.
        from bidnn.programs.settings import compose_training
        from bidnn.training.advice import PYTHON
        from bidnn.training.callbacks.write_model import WriteModel
        from bidnn.training.fit import fit, quiet_lightning

        choices, values, words = settings_of(given)
        own_choices, own_values = split_settings(self._settings)
        fixed = [f"experiment={recipe}", "data=arrays", "callbacks.report=null"]
        if "run_dir" not in own_values:
            fixed += ["run_dir=null", "logger=none"]
        if self.config.verbosity < 3:
            fixed.append("callbacks.progress=null")
        if self.config.fname_out is None:
            fixed.append("output.path=null")
        training = compose_training(
            [*fixed, *choices, *own_choices], values | own_values, words=words
        )
        start = None if self.config.load_model is None else self._start(training, store)
        more: list[Callback] = list(callbacks)
        if self.config.save_model:
            more.append(WriteModel(self.config.save_model, training.output))
        quiet_lightning()
        with said(self.config.verbosity):
            fitted = fit(training, store, callbacks=more, words=PYTHON, start=start)
        self._model, self._metrics = fitted.model, fitted.metrics

    def _start(self, training: Any, store: PairStore) -> Model:  # noqa: ANN401 — a TrainConfig
        """The model of `load_model`."""
        from bidnn.training.fit import pair_data, scaled_like, start_model

        path = Path(str(self.config.load_model))
        if path.suffix == ".npz":
            model = Model.of(read_model(path, training.model), training.scaling)
            model = model.with_missing(training.embedding.missing)
            return scaled_like(model, pair_data(training, store))
        training = dataclasses.replace(training, checkpoint=str(path))
        return start_model(training, pair_data(training, store))

    def _rows(self) -> PairStore:
        if self._store is None:
            raise RuntimeError("no rows yet; call load_dataset first")
        return self._store

    def _trained(self) -> Model:
        if self._model is None:
            raise RuntimeError("nothing is trained yet; call train or fit, or use bidnn.load")
        return self._model


def load(path: str | Path, *, act: str = "tanh") -> BiDNN:
    """A trained model from a file of `BiDNN.save`, a run's folder, a checkpoint, or the original.

    Args:
        path: the file or folder; `.npz` is a model file of the original.
        act: the activation that a model of the original was trained with; its file does not say.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: if it is no model, damaged, or altered.
    """
    path = Path(path)
    if path.suffix == ".npz":
        if act not in [member.value for member in Activation]:
            known = ", ".join(member.value for member in Activation)
            raise UserError(f"act={act}: choose one of {known}")
        model = Model.of(read_model(path, act=act)).with_missing(MissingStrategy.duplicate)
    else:
        model = load_bundle(path)
    model.eval()
    net = BiDNN(mod1size=model.mod1size, mod2size=model.mod2size, **_settings_of_model(model))
    net._model = model
    return net


def _settings_of_model(model: Model) -> dict[str, Any]:
    """Settings by which `fit` trains such a model anew."""
    described = describe_model(model)
    network = dict(described["network"])
    found = {
        "hdn": network.pop("hdn"),
        "rep": network.pop("rep"),
        "act": network.pop("activation"),
        "output_act": network.pop("output_activation"),
        "dropout": network.pop("dropout"),
        "untied": not network.pop("tied"),
        "scaling": described["scaling"],
    }
    same = len(set(described["transforms"])) == 1
    found["scaling__transform"] = described["transforms"][0] if same else "auto"
    found |= {f"model__{name}": value for name, value in network.items()}
    found |= {f"embedding__{name}": value for name, value in described["embedding"].items()}
    if not network["self_paths"]:
        found["loss"] = "separate_means"
    return found


def settings_of(given: Mapping[str, Any]) -> tuple[list[str], dict[str, Any], dict[str, str]]:
    """The original's settings as ours: choices, values by key, and which name a key came from."""
    choices: list[str] = []
    values: dict[str, Any] = {}
    words: dict[str, str] = {}
    for name, value in given.items():
        key = FIELDS[name] or ""
        if name == "scaling":
            choices.append(_choice("scaling", value))
        elif name == "untied":
            values[key] = not value
        elif name == "crossmodal":
            values[key] = "crossmodal" if value else "embedding"
        elif key and not (value is None and name in ("fname_out", "missing")):
            values[key] = value
        if key:
            words[key] = name
    if "epochs" in given:
        values["trainer.max_steps"] = -1
        if isinstance(given["epochs"], int) and given["epochs"] < 0:
            raise UserError(f"epochs={given['epochs']}: must be at least 0")
    return choices, values, words


def split_settings(settings: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Choices of a group, which come first, and values of single keys."""
    from bidnn.programs.config import CONF

    choices, values = [], {}
    for key, value in settings.items():
        if isinstance(value, str) and (CONF / key).is_dir():
            choices.append(_choice(key, value))
        else:
            values[key] = value
    return choices, values


@contextmanager
def said(verbosity: int) -> Iterator[None]:
    """Lets our log say as much as `verbosity` allows, for a while."""
    log = logging.getLogger("bidnn")
    before = log.level
    log.setLevel(LEVELS[max(0, min(verbosity, 3))])
    try:
        yield
    finally:
        log.setLevel(before)


def _choice(group: str, value: Any) -> str:  # noqa: ANN401 — checked here
    if not isinstance(value, str) or not value.replace("_", "").isalnum():
        raise UserError(f"{group}={value!r}: name a file of conf/{group}")
    return f"{group}={value}"


def _strategy(value: str) -> MissingStrategy:
    try:
        return MissingStrategy(value)
    except ValueError:
        known = ", ".join(member.value for member in MissingStrategy)
        raise UserError(f"missing={value}: choose one of {known}") from None


def _matrix(values: Any) -> Any:  # noqa: ANN401 — an array or a sparse matrix
    if sparse.issparse(values):
        return sparse.csr_array(values, dtype=np.float32)
    return values if np.ma.isMaskedArray(values) else np.asarray(values)


def _pair(
    model: Model,
    first: Any,  # noqa: ANN401 — an array, a sparse matrix or None
    second: Any,  # noqa: ANN401 — likewise
) -> PairStore:
    """Rows to embed; a modality that is None is missing in all of them."""
    if first is None and second is None:
        raise UserError("no rows: give first, second, or both")
    given = [None if values is None else _matrix(values) for values in (first, second)]
    rows = next(values.shape[0] for values in given if values is not None)
    sizes = (model.mod1size, model.mod2size)
    filled = (
        np.full((1, size), np.nan, np.float32).repeat(rows, axis=0) if values is None else values
        for values, size in zip(given, sizes, strict=True)
    )
    store = store_arrays(*filled)
    check_sizes(model, store)
    return store


def _row(block: Block) -> NDArray[np.float32]:
    return np.concatenate([block.left, block.right], axis=1)
