"""The Python interface: the original's verbs, and scikit-learn's, on one class."""

import dataclasses
import logging
from enum import Enum
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from lightning import Callback, Trainer
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from bidnn.architecture import Activation, NetworkConfig
from bidnn.data.datamodule import PairDataModule
from bidnn.data.formats.arrays import store_arrays
from bidnn.data.formats.libsvm.text import IndexBase
from bidnn.data.sources import open_libsvm, split_store
from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.losses import LossConfig
from bidnn.model.finishing import EmbeddingConfig
from bidnn.model.inference import Block, OutputKind, check_sizes, embed, infer
from bidnn.model.model import MissingStrategy, Model
from bidnn.model.outputs import OutputConfig
from bidnn.model.saved import Trained, check_settings, load_bundle, save_bundle
from bidnn.model.scaling import ScalingConfig, ScalingKind, fit_scaling
from bidnn.original.config import Config
from bidnn.original.model_file import read_model
from bidnn.training.callbacks.collapse import CollapseCheck
from bidnn.training.callbacks.progress import Progress
from bidnn.training.callbacks.run_command import RunCommand
from bidnn.training.callbacks.write_model import WriteModel
from bidnn.training.callbacks.write_outputs import WriteOutputs
from bidnn.training.fit import fresh_model, quiet_lightning, train
from bidnn.training.optimizers import SgdConfig

log = logging.getLogger(__name__)

Choice = TypeVar("Choice", bound=Enum)


class BiDNN:
    """Trains on pairs, embeds and translates rows that may miss either modality.

    The original's way, with files or a sparse matrix:

        conf = Config(mod1size=100, mod2size=4096, hdn=2048, rep=2048)
        net = BiDNN(conf)
        net.load_dataset(X)
        net.train()
        out = net.predict()

    scikit-learn's way, with arrays:

        net = BiDNN(hdn=256, rep=128, epochs=200).fit(first, second)
        z = net.transform(first, second)
        second_from_first = net.translate(first=first)
    """

    def __init__(
        self,
        config: Config | None = None,
        **settings: Any,  # noqa: ANN401 — fields of Config
    ) -> None:
        """Takes settings; nothing is read or built yet.

        Args:
            config: the settings; None for the defaults.
            **settings: fields of Config that replace those of `config`.

        Raises:
            TypeError: if a setting is none of Config's.
        """
        self.config = dataclasses.replace(config or Config(), **settings)
        self._store: PairStore | None = None
        self._model: Model | None = None

    def load_dataset(self, X: Any = None, labels: ArrayLike | None = None) -> Self:  # noqa: ANN401, N803
        """Takes the rows to train on and to predict.

        Args:
            X: (rows, mod1size + mod2size) sparse or dense, the modalities side by side, a row of
                zeros (or of NaN) being a missing modality; None reads the libsvm file `fname_in`.
            labels: (rows,), kept for the output files.

        Raises:
            ValueError: if sizes are not set, or X has others.
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
        text = None if labels is None else np.asarray(labels).astype(np.str_)
        if sparse.issparse(X):
            rows = sparse.csr_array(X, dtype=np.float32)
            parts = rows[:, : sizes[0]], rows[:, sizes[0] :]
            self._store = split_store(parts, text, ignore_zeroes=zeroes, name="X")
        else:
            first, second = np.hsplit(np.asarray(X), [sizes[0]])
            self._store = store_arrays(first, second, labels=text, ignore_zeroes=zeroes, name="X")
        return self

    def train(self) -> Self:
        """Trains, and writes what `fname_out`, `save_model` and `exec_command` ask for.

        Raises:
            ValueError: if there are no rows, or a setting is out of its range.
            OSError: if an output cannot be written; found out before training.
        """
        self._train(self._rows(), self._outputs(self._rows()))
        return self

    def predict(self) -> NDArray[np.float32]:
        """The rows of `load_dataset`, embedded (rows, rep), or with `crossmodal` completed.

        A missing modality's centre is the other's, duplicated, unless `missing` says otherwise.
        """
        kind = OutputKind.crossmodal if self.config.crossmodal else OutputKind.embedding
        blocks = infer(
            self._trained(), self._rows(), kind, self._strategy(), l2_norm=self.config.l2_norm
        )
        return np.concatenate([_row(block) for block in blocks])

    def fit(self, first: ArrayLike, second: ArrayLike) -> Self:
        """Trains on the rows in which both modalities are there.

        Args:
            first: (rows, mod1size) array or sparse matrix; a row of NaN is missing.
            second: (rows, mod2size) likewise.

        Raises:
            ValueError: if the rows do not fit, no row is complete, or a setting is out of range.
        """
        store = store_arrays(_matrix(first), _matrix(second))
        self.config = dataclasses.replace(
            self.config, mod1size=store.mod1size, mod2size=store.mod2size
        )
        self._train(store, [])
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
            missing: translate or duplicate; None: as configured, or else translate.

        Returns:
            (rows, rep) float32; zero where both modalities are missing.

        Raises:
            ValueError: if the columns are not those of the training.
            RuntimeError: if nothing was trained or loaded.
        """
        model = self._trained()
        store = _pair(model, first, second)
        strategy = MissingStrategy(missing or self.config.missing or "translate")
        return embed(model, store, strategy, l2_norm=self.config.l2_norm)

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
            ValueError: if it has other columns than in training.
            RuntimeError: if nothing was trained or loaded.
        """
        if (first is None) == (second is None):
            raise TypeError("translate takes either first= or second=")
        model = self._trained()
        blocks = infer(model, _pair(model, first, second), OutputKind.crossmodal)
        return np.concatenate([block.left if first is None else block.right for block in blocks])

    def save(self, path: str | Path) -> None:
        """Writes the trained model, for `bidnn.load`.

        Raises:
            RuntimeError: if nothing was trained or loaded.
            OSError: if the file cannot be written.
        """
        strategy = MissingStrategy(self.config.missing or "translate")
        save_bundle(Path(path), Trained(self._trained(), strategy))

    def _train(self, store: PairStore, outputs: list[Callback]) -> None:
        config = self.config
        if config.epochs < 0:
            raise UserError(f"epochs={config.epochs}: must be at least 0")
        optimizer = SgdConfig(lr=config.lr, momentum=config.momentum)
        data = PairDataModule(
            store, batch_size=config.batch_size, seed=config.seed, trains=config.epochs > 0
        )
        trained = Trained(self._start(data), self._strategy())
        bar = [Progress()] if config.verbosity >= 3 else []
        quiet_lightning()
        trainer = Trainer(
            max_epochs=config.epochs,
            devices=1,
            callbacks=[*outputs, *bar, CollapseCheck()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        train(trained, data, LossConfig(), optimizer, trainer, seed=config.seed)
        self._model = trained.model.cpu().eval()

    def _start(self, data: PairDataModule) -> Model:
        """A fresh model, or the one of `load_model`."""
        config = self.config
        network = NetworkConfig(
            hdn=config.hdn,
            rep=config.rep,
            activation=_choice(Activation, config.act, "act"),
            output_activation=(
                None
                if config.output_act is None
                else _choice(Activation, config.output_act, "output_act")
            ),
            dropout=config.dropout,
            tied=not config.untied,
        )
        scaling = ScalingConfig(kind=_choice(ScalingKind, config.scaling, "scaling"))
        if config.load_model is None:
            return fresh_model(data, network, scaling, EmbeddingConfig(), config.seed)
        path = Path(config.load_model)
        if path.suffix == ".npz":
            model = Model.of(read_model(path, network), scaling)
            fit_scaling((model.first_scaler, model.second_scaler), data.store, data.scaling_rows)
        else:
            model = load_bundle(path).model
            check_settings(path, model, Model(model.mod1size, model.mod2size, network, scaling))
        check_sizes(model, data.store)
        return model

    def _outputs(self, store: PairStore) -> list[Callback]:
        """What the original writes, in its order: embedding, model, command."""
        config = self.config
        output = OutputConfig(
            path=config.fname_out or "none",
            kind=OutputKind.crossmodal if config.crossmodal else OutputKind.embedding,
            l2_norm=config.l2_norm,
            zero_based=config.zero_based,
            every_n_epochs=config.write_after,
            command=config.exec_command,
        )
        outputs: list[Callback] = []
        if config.fname_out:
            outputs.append(WriteOutputs(store, output))
        if config.save_model:
            outputs.append(WriteModel(config.save_model, output))
        if config.exec_command:
            outputs.append(RunCommand(output))
        return outputs

    def _strategy(self) -> MissingStrategy:
        return _choice(MissingStrategy, self.config.missing or "duplicate", "missing")

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
        ValueError: if it is no model, damaged, or altered.
    """
    path = Path(path)
    if path.suffix == ".npz":
        network = read_model(path, act=_choice(Activation, act, "act").value)
        trained = Trained(Model.of(network), MissingStrategy.duplicate)
    else:
        trained = load_bundle(path)
    model, network_config = trained.model.eval(), trained.model.network.config
    output = network_config.output_activation
    net = BiDNN(
        mod1size=model.mod1size,
        mod2size=model.mod2size,
        hdn=network_config.hdn,
        rep=network_config.rep,
        act=network_config.activation.value,
        output_act=None if output is None else output.value,
        dropout=network_config.dropout,
        untied=not network_config.tied,
        scaling=model.first_scaler.kind.value,
        missing=trained.strategy.value,
    )
    net._model = model
    return net


def _choice(kind: type[Choice], value: str, name: str) -> Choice:
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(str(member.value) for member in kind)
        raise UserError(f"{name}={value}: choose one of {known}") from None


def _matrix(values: Any) -> Any:  # noqa: ANN401 — an array or a sparse matrix
    if sparse.issparse(values):
        return sparse.csr_array(values, dtype=np.float32)
    return np.asarray(values)


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
