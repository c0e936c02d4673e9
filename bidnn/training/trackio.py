"""Metrics for trackio, whose interface is that of Weights & Biases, kept on this machine."""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import Logger


class Trackio(Logger):
    """A run of a trackio project; `trackio show` opens its dashboard."""

    def __init__(self, project: str, name: str | None = None, **more: Any) -> None:  # noqa: ANN401 — trackio's
        """Opens nothing yet.

        Args:
            project: that the run is shown in.
            name: of the run; None for one that trackio makes up.
            more: further arguments of `trackio.init`.

        Raises:
            ModuleNotFoundError: if trackio is not installed.
        """
        super().__init__()
        import trackio

        self._trackio = trackio
        self._project, self._run_name, self._more = project, name or None, more
        self._run: Any = None

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:  # noqa: ANN401 — trackio's Run
        """The run, opened when it is first needed."""
        if self._run is None:
            self._run = self._trackio.init(self._project, name=self._run_name, **self._more)
        return self._run

    @property
    def name(self) -> str:
        """The project."""
        return self._project

    @property
    def version(self) -> str:
        """The run."""
        return self._run_name or ""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Writes metrics."""
        self.experiment.log(dict(metrics), step)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: object) -> None:
        """Writes settings, if the run is not open yet: trackio takes them when it opens it."""
        if self._run is None:
            given = vars(params) if isinstance(params, Namespace) else params
            self._more = {**self._more, "config": {**self._more.get("config", {}), **given}}

    @rank_zero_only
    def finish(self) -> None:
        """Closes the run; what is logged later is another one."""
        if self._run is not None:
            self._trackio.finish()
            self._run = None
