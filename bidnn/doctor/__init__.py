"""What a training should be told of its rows before it begins: only what was measured of them."""

from bidnn.doctor.examine import FULL, SHORT, Effort, examine
from bidnn.doctor.findings import Finding, Level, Plan

__all__ = ["FULL", "SHORT", "Effort", "Finding", "Level", "Plan", "examine"]
