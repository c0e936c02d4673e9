"""What is found: the figures, a sentence that says no more than they do, and what fixes it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from bidnn.architecture import Activation
from bidnn.losses import LossConfig
from bidnn.model.scaling import ScalingConfig

NAMES = ("first", "second")

Settings: TypeAlias = tuple[tuple[str, str], ...]
"""Keys and values."""


class Level(Enum):
    """How much a finding asks for."""

    fine = "fine"
    look = "look"
    fix = "fix"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is set for the training that the rows are for.

    Attributes:
        output: the activation of the output layers.
        scaling: of the features.
        loss: what is minimised; None for an own one, of which nothing is known.
        incomplete_rows: rows that miss a modality train too.
        zeroes_are_data: a row of zeros is no missing modality, which a setting could change.
    """

    output: Activation
    scaling: ScalingConfig
    loss: LossConfig | None
    incomplete_rows: bool = False
    zeroes_are_data: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was measured.

    Attributes:
        name: of the check.
        level: how much it asks for.
        sentence: what was measured, and of how many rows if not of all.
        figures: the same, as numbers by name.
        settings: keys and values that fix it, none of which is set; may be none.
        only_if: what the settings depend on and was not measured; empty if nothing.
        advice: what fixes it where no setting does.
    """

    name: str
    level: Level
    sentence: str
    figures: Mapping[str, float] = field(default_factory=dict)
    settings: Settings = ()
    only_if: str = ""
    advice: str = ""

    def remedy(self, word: Callable[[str, str | None], str]) -> str:
        """What fixes it, in words; empty if nothing does.

        Args:
            word: writes a setting as the caller would.
        """
        if not self.settings:
            return self.advice
        shown = " ".join(word(*setting) for setting in self.settings)
        return f"set {shown}" + (f", if {self.only_if}" if self.only_if else "")


def percent(share: float) -> str:
    """A share in percent, with so many digits that it is neither 0 nor 100 unless it is."""
    shown = f"{100 * share:.0f}" if 0.095 <= abs(share) < 0.995 else f"{100 * share:.1f}"
    if shown == "100.0" and share < 1:
        return "more than 99.9 %"
    if shown in ("0.0", "-0.0"):
        return "less than 0.1 %" if share else "0 %"
    return f"{shown.removesuffix('.0')} %"
