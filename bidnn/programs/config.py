"""The configuration of the programs, typed: what conf/ may choose from and what it may not say."""

from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from bidnn.architecture import NetworkConfig
from bidnn.data.sources import DigitsSource, LibsvmSource, MatSource, NpySource, NpzSource
from bidnn.errors import UserError
from bidnn.losses import LossConfig
from bidnn.model.finishing import EmbeddingConfig
from bidnn.model.model import MissingConfig
from bidnn.model.outputs import OutputConfig
from bidnn.model.scaling import ScalingConfig
from bidnn.training.optimizers import AdamConfig, SgdConfig
from bidnn.training.speed import SpeedConfig


@dataclass(slots=True, kw_only=True)
class TrainConfig:
    """scripts/train.py.

    Attributes:
        seed: of weights, split, shuffling, dropout and dropped modalities; not negative.
        resume: go on from the last checkpoint in this run's folder.
        checkpoint: a trained model to start from; a run's folder, a checkpoint or a bundle.
        objective: the figure that a sweep gets from the run, by the name it is logged under.
        run_dir: the run's folder; set by Hydra.
        data: where rows come from, and which of them train.
        model: the network.
        loss: what is minimised.
        optimizer: by what.
        speed: how the arithmetic is done.
        scaling: of the features.
        missing: how rows that miss a modality are embedded.
        embedding: how a row's vector is made of its two halves.
        output: what is written, and the command that is run after it.
        callbacks: Lightning callbacks by name, each with its `_target_`; None takes one out.
        logger: Lightning loggers by name, likewise.
        trainer: of Lightning, with its `_target_`.
    """

    seed: int = 0
    resume: bool = False
    checkpoint: str | None = None
    objective: str = "train/loss"
    run_dir: str = MISSING
    data: Any = MISSING
    model: NetworkConfig = MISSING
    loss: LossConfig = MISSING
    optimizer: Any = MISSING
    speed: SpeedConfig = MISSING
    scaling: ScalingConfig = MISSING
    missing: MissingConfig = MISSING
    embedding: EmbeddingConfig = MISSING
    output: OutputConfig = MISSING
    callbacks: dict[str, Any] = MISSING
    logger: dict[str, Any] = MISSING
    trainer: Any = MISSING

    def __post_init__(self) -> None:
        """Refuses what no single part can see to be wrong.

        Raises:
            ValueError: naming the keys.
        """
        if bool(self.loss.self_weight) != self.model.self_paths:
            raise UserError(
                f"loss.self_weight={self.loss.self_weight} and "
                f"model.self_paths={str(self.model.self_paths).lower()} do not go together: the "
                "weight trains the paths; set both, or neither"
            )
        if not 0 <= self.seed < 2**32:
            raise UserError(f"seed={self.seed}: must be in [0, 2^32)")


@dataclass(slots=True, kw_only=True)
class EmbedConfig:
    """scripts/embed.py.

    Attributes:
        checkpoint: the trained model: a run's folder, a checkpoint or a bundle.
        seed: of dropped modalities, with `data.missing_rate`.
        missing: `duplicate` or `translate`; None: as the model was trained.
        device: where it runs; `auto` takes a GPU when there is one.
        run_dir: the run's folder; set by Hydra.
        data: where rows come from.
        output: what is written.
    """

    checkpoint: str = MISSING
    seed: int = 0
    missing: MissingConfig | None = None
    device: str = "auto"
    run_dir: str = MISSING
    data: Any = MISSING
    output: OutputConfig = MISSING


@dataclass(slots=True, kw_only=True)
class ExportConfig:
    """What scripts/convert.py writes.

    Attributes:
        path: .npz; .npy for `NAME_first.npy`, `NAME_second.npy` and `NAME_label.npy`; anything else
            is libsvm text.
        zero_based: indices of a libsvm file start at 0, not at 1.
    """

    path: str = MISSING
    zero_based: bool = False


@dataclass(slots=True, kw_only=True)
class ConvertConfig:
    """scripts/convert.py.

    Attributes:
        seed: of dropped modalities, with `data.missing_rate`.
        data: where rows come from.
        output: what is written.
    """

    seed: int = 0
    data: Any = MISSING
    output: ExportConfig = MISSING


@dataclass(slots=True, kw_only=True)
class CompareConfig:
    """scripts/compare.py.

    Attributes:
        methods: by name; `train`, a list of settings as for scripts/train.py, or empty for one of
            `programs.methods`.
        common: settings of all trained methods that are not experiments.
        rates: missing rates, each in [0, 1].
        seeds: one mask and one training each.
        run_dir: where the table and the picture go; set by Hydra.
        data: where rows come from; labels are needed.
    """

    methods: dict[str, Any] = MISSING
    common: list[str] = MISSING
    rates: list[float] = MISSING
    seeds: list[int] = MISSING
    run_dir: str = MISSING
    data: Any = MISSING


PROGRAMS: dict[str, type] = {
    "train": TrainConfig,
    "embed": EmbedConfig,
    "convert": ConvertConfig,
    "compare": CompareConfig,
}
GROUPS: dict[str, dict[str, type]] = {
    "data": {
        "digits": DigitsSource,
        "libsvm": LibsvmSource,
        "npz": NpzSource,
        "npy": NpySource,
        "mat": MatSource,
    },
    "optimizer": {"sgd": SgdConfig, "adam": AdamConfig},
    "scaling": {"scaling": ScalingConfig},
    "missing": {"missing": MissingConfig},
    "embedding": {"embedding": EmbeddingConfig},
    "model": {"network": NetworkConfig},
    "loss": {"loss": LossConfig},
    "output": {"output": OutputConfig},
    "speed": {"speed": SpeedConfig},
}
SCHEMAS = (*PROGRAMS.values(), *(kind for kinds in GROUPS.values() for kind in kinds.values()))


def register() -> None:
    """Makes the schemas known to Hydra under the names that conf/ uses."""
    store = ConfigStore.instance()
    for name, node in PROGRAMS.items():
        store.store(name=f"{name}_schema", node=node)
    for group, schemas in GROUPS.items():
        for name, node in schemas.items():
            store.store(group=group, name=f"{name}_schema", node=node)
