"""The configuration of the programs, typed: what conf/ may choose from and what it may not say."""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

from bidnn.architecture import NetworkConfig
from bidnn.data.sources import SOURCES
from bidnn.errors import UserError
from bidnn.files import new_folder
from bidnn.losses import LossConfig
from bidnn.model.finishing import EmbeddingConfig, MissingStrategy
from bidnn.model.outputs import SHARD, OutputConfig
from bidnn.model.scaling import ScalingConfig
from bidnn.programs.export_config import ModelExportConfig
from bidnn.training.config import TrainConfig, TrainerConfig
from bidnn.training.optimizers import AdamConfig, SgdConfig
from bidnn.training.speed import SpeedConfig

PACKAGE = Path(__file__).resolve().parents[1]
CONF = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parent / "conf"
"""In a wheel the settings lie in the package, in the repository beside it."""


@dataclass(slots=True, kw_only=True)
class EmbedConfig:
    """Embeds or completes rows with a trained model, its scaling included.

    Attributes:
        checkpoint: the trained model: a run's folder, a checkpoint or a saved model.
        seed: of dropped modalities, with `data.missing_rate`.
        missing: what stands for a missing modality's centre; null: as the model was trained.
        device: where it runs; `auto` takes a GPU when there is one.
        only_new: an earlier output (.parquet, .npz, or a folder or pattern of the former), whose
            ids are left out: only what it lacks is embedded.
        changed: with `only_new`, rows that changed are embedded again, too: those whose
            fingerprint is another than there (see `output.fingerprint`, which this sets).
        share: `[number, processes]`, which of how many shares of the files this process embeds,
            with `%s` in `output.path`; null: as torchrun or SLURM say, also of a job array; [0,1]
            takes all.
        run_dir: the run's folder; set by Hydra.
        data: where rows come from.
        output: what is written.
    """

    checkpoint: str = MISSING
    seed: int = 0
    missing: MissingStrategy | None = None
    device: str = "auto"
    only_new: str | None = None
    changed: bool = False
    share: list[int] | None = None
    run_dir: str = MISSING
    data: Any = MISSING
    output: OutputConfig = MISSING

    def __post_init__(self) -> None:
        """Refuses what no single part can see to be wrong.

        Raises:
            UserError: naming the keys.
        """
        by_file = SHARD in str(getattr(self.output, "path", ""))
        if self.only_new is not None and by_file:
            raise UserError(
                f"only_new={self.only_new}: with {SHARD} in output.path the files that have no "
                "output yet are embedded; use one or the other"
            )
        if self.changed and self.only_new is None:
            raise UserError("changed=true: needs only_new=FILE, the output to compare with")
        if self.share is None:
            return
        if not by_file:
            raise UserError(
                f"share={self.share}: of the files of a table, of which each has an output of its "
                f"own by {SHARD} in output.path, as out/{SHARD}.parquet"
            )
        if len(self.share) != 2 or not 0 <= self.share[0] < self.share[1]:
            raise UserError(f"share={self.share}: [number, processes], the number from 0 on")


@dataclass(slots=True, kw_only=True)
class ExportConfig:
    """What `bidnn convert` writes.

    Attributes:
        path: the file, its format by its name: .npz; .npy for `NAME_first.npy`, `NAME_second.npy`,
            `NAME_label.npy` and `NAME_id.npy`; else libsvm text, with ids in `FILE.ids`.
        zero_based: indices of a libsvm file start at 0, not at 1.
    """

    path: str = MISSING
    zero_based: bool = False


@dataclass(slots=True, kw_only=True)
class ConvertConfig:
    """Writes features in another file format, a block of rows at a time.

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
    """Trains and scores methods side by side, as more rows miss a modality.

    Attributes:
        methods: what is compared, by name; `train`, a list of settings as for `bidnn train`, or
            empty for one of `programs.methods`.
        common: settings of all trained methods that are not experiments.
        rates: missing rates, each in [0, 1].
        seeds: one mask and one training each.
        resume: keep the results in this run's folder, and go on with the training that was cut off;
            true, or auto: if there are any. Methods that failed, or are set otherwise, run again.
        run_dir: where the table and the picture go; set by Hydra.
        data: where rows come from; with labels, methods are compared by them too.
    """

    methods: dict[str, Any] = MISSING
    common: list[str] = MISSING
    rates: list[float] = MISSING
    seeds: list[int] = MISSING
    resume: Any = False
    run_dir: str = MISSING
    data: Any = MISSING


class Sampler(Enum):
    """How trials are drawn: `tpe` learns from those that have ended, `random` does not."""

    tpe = "tpe"
    random = "random"


@dataclass(slots=True, kw_only=True)
class TuneConfig:
    """Searches for the settings of a training that are best by a metric, trial by trial.

    All other settings are those of the trainings, as `bidnn train` takes them.

    Attributes:
        trials: how many there are to be in all, of all processes, resumed ones included.
        space: ranges by key; a file of conf/space, and `space.KEY=RANGE`: choice(a,b,c),
            int(low,high), float(low,high), log(low,high); null takes a key out.
        objective: the metric that is made best, by the name that a training logs it under; losses
            and errors are to be low, all else high.
        prune: whether trials are ended early: those that after some tenths of the training are
            worse than the median of the others there (from the sixth trial on, after three tenths).
        sampler: how trials are drawn, see `Sampler`.
        seed: of the draws, and of each training.
        resume: go on with the study in this run's folder: auto, if there is one; true refuses to
            begin one; false refuses to go on. Processes in one folder share its trials.
        gone: machines that will not come back, by name: what they had begun is trained again.
        train: settings of all trainings; what is no setting of this program is put here.
        run_dir: the study's folder; set by Hydra.
    """

    trials: int = 50
    space: dict[str, Any] = field(default_factory=dict)
    objective: str = "agreement"
    prune: bool = True
    sampler: Sampler = Sampler.tpe
    seed: int = 0
    resume: Any = "auto"
    gone: list[str] = field(default_factory=list)
    train: list[str] = field(default_factory=list)
    run_dir: str = MISSING

    def __post_init__(self) -> None:
        """Refuses what cannot be.

        Raises:
            UserError: naming the key.
        """
        if self.trials < 1:
            raise UserError(f"trials={self.trials}: must be at least 1")
        if not 0 <= self.seed < 2**32:
            raise UserError(f"seed={self.seed}: must be in [0, 2^32)")
        if self.resume not in (True, False, "auto"):
            raise UserError(f"resume={self.resume}: must be true, false or auto")


@dataclass(slots=True, kw_only=True)
class IndexConfig:
    """Makes an embedding searchable: its vectors, mapped, and what is known of their rows.

    Attributes:
        file: the embedding, as `bidnn embed` writes it; `bidnn index FILE` names it, too.
        folder: where the index is kept.
        add: a further file of the same model; its rows are added to the index that is there.
        replace: with `add`, rows whose ids are there take the place of the old ones.
        exact_to: rows up to which all are compared with a query; above, lists find candidates.
    """

    file: str = MISSING
    folder: str = MISSING
    add: str | None = None
    replace: bool = False
    exact_to: int = 1_000_000

    def __post_init__(self) -> None:
        """Refuses what no single part can see to be wrong.

        Raises:
            UserError: naming the keys.
        """
        if self.replace and self.add is None:
            raise UserError("replace=true: needs add=FILE, the rows that take the place of others")


@dataclass(slots=True, kw_only=True)
class HitsConfig:
    """Where `bidnn search` writes what it found.

    Attributes:
        path: .parquet, .jsonl, or .run for a TREC run; null: a table is printed.
    """

    path: str | None = None


@dataclass(slots=True, kw_only=True)
class SearchConfig:
    """Finds the nearest rows of an embedding, for a row of it or for new ones.

    Attributes:
        file: the embedding, as `bidnn embed` writes it; `bidnn search FILE` names it, too.
        folder: its index; where there is none, one is made in memory.
        checkpoint: the trained model that embeds new rows: a run's folder or a saved model.
        id: the id of a row of the embedding, or a list of them.
        first: vectors of the first modality: .npy, or text with one a line; `-`: standard input.
        second: of the second modality, likewise.
        data: where new rows come from; either modality may be missing.
        k: how many rows are found for each query.
        having: finds rows that have a modality only: first, second, or both; null: any.
        output: where hits are written.
        seed: of dropped modalities, with `data.missing_rate`.
        device: where the model runs; `auto` takes a GPU when there is one.
    """

    file: str = MISSING
    folder: str = MISSING
    checkpoint: str | None = None
    id: Any = None
    first: str | None = None
    second: str | None = None
    data: Any = None
    k: int = 10
    having: str | None = None
    output: HitsConfig = MISSING
    seed: int = 0
    device: str = "auto"


@dataclass(slots=True, kw_only=True)
class FindingsConfig(OutputConfig):
    """Where `bidnn doctor` writes what it found; the rest is for the training.

    Attributes:
        path: .json or .md; null: a table is printed and no file is written.
    """

    def __post_init__(self) -> None:
        """Refuses other formats.

        Raises:
            UserError: naming the path.
        """
        if self.path is not None and Path(self.path).suffix not in (".json", ".md"):
            raise UserError(f"output.path={self.path}: findings are written as .json or .md")


@dataclass(slots=True, kw_only=True)
class DoctorConfig(TrainConfig):
    """Measures rows before a training, and says what is wrong with them and which setting fixes it.

    Attributes:
        seed: of the rows that are looked at where there are many, and of permutations.
        output: what is written.
    """

    output: FindingsConfig = field(default_factory=FindingsConfig)


@dataclass(slots=True, kw_only=True)
class PageConfig:
    """Where `bidnn report` writes.

    Attributes:
        path: the page; null: report.html in the run's or the sweep's folder, and of several that
            are named, comparison.html here.
    """

    path: str | None = None


@dataclass(slots=True, kw_only=True)
class ReportConfig:
    """Draws a page on what a run has learned; of several runs, or of a sweep, which was best.

    Attributes:
        runs: folders of runs or sweeps; `bidnn report FOLDER…` names them, too.
        objective: the metric by which several runs are compared; null: their own.
        output: what is written.
        umap: also maps the embedding by UMAP, if umap-learn is installed.
        device: where the model runs; `auto` takes a GPU when there is one.
        data: the rows of a run, where they are not where it found them.
    """

    runs: list[str] = field(default_factory=list)
    objective: str | None = None
    output: PageConfig = MISSING
    umap: bool = True
    device: str = "auto"
    data: Any = None


PROGRAMS: dict[str, type] = {
    "train": TrainConfig,
    "doctor": DoctorConfig,
    "embed": EmbedConfig,
    "convert": ConvertConfig,
    "compare": CompareConfig,
    "tune": TuneConfig,
    "index": IndexConfig,
    "search": SearchConfig,
    "report": ReportConfig,
    "export": ModelExportConfig,
}
GROUPS: dict[str, dict[str, type]] = {
    "data": {**SOURCES},
    "optimizer": {"sgd": SgdConfig, "adam": AdamConfig},
    "scaling": {"scaling": ScalingConfig},
    "embedding": {"embedding": EmbeddingConfig},
    "model": {"network": NetworkConfig},
    "loss": {"loss": LossConfig},
    "output": {"output": OutputConfig},
    "speed": {"speed": SpeedConfig},
    "trainer": {"trainer": TrainerConfig},
}

# On import, because a sweep's workers import this file and never call `register`. The cache keeps
# one folder for one run, however often its configuration is looked at.
OmegaConf.register_new_resolver(
    "new_folder", lambda path: str(new_folder(Path(path))), use_cache=True, replace=True
)


def register() -> None:
    """Makes the schemas known to Hydra under the names that conf/ uses."""
    store = ConfigStore.instance()
    for name, node in PROGRAMS.items():
        store.store(name=f"{name}_schema", node=node)
    for group, schemas in GROUPS.items():
        for name, node in schemas.items():
            store.store(group=group, name=f"{name}_schema", node=node)
