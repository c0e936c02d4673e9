"""Draws that depend on the seed, the place of a trial, and the trials that have ended before it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from bidnn.programs.config import Sampler

AGAIN = "again"
"""An attribute of a trial that takes the place of one that was cut off: the number of that."""


class PlacedSampler(BaseSampler):
    """One of Optuna's samplers, begun anew for each trial, with a seed of its place.

    A sampler that goes on from trial to trial would begin again with its first draws in each
    process that shares a study, and in one that is resumed.
    """

    def __init__(self, kind: Sampler, seed: int) -> None:
        """Draws nothing yet.

        Args:
            kind: of Optuna's.
            seed: of the study.
        """
        self.kind, self.seed = kind, seed
        self._made: BaseSampler = RandomSampler(seed)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Begins anew; a trial that takes the place of another has that one's."""
        trials = study.get_trials(deepcopy=False)
        place = trial.number - len(
            {t.user_attrs[AGAIN] for t in trials if AGAIN in t.user_attrs}
            & set(range(trial.number))
        )
        seed = int(np.random.SeedSequence([self.seed, place]).generate_state(1)[0])
        self._made = TPESampler(seed=seed) if self.kind is Sampler.tpe else RandomSampler(seed)
        self._made.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """As Optuna's."""
        return self._made.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As Optuna's."""
        return self._made.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:  # noqa: ANN401 — Optuna's
        """As Optuna's."""
        return self._made.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """As Optuna's."""
        self._made.after_trial(study, trial, state, values)
