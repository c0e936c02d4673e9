"""What was set for a run: its name in TensorBoard and other loggers, and its hyper-parameters."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NOT_OF_THE_RESULT = (
    *("run_dir", "resume", "objective", "hydra.", "output.", "callbacks.", "logger"),
    *("trainer.enable", "data.first_shape", "data.second_shape", "doctor", "report"),
)
"""Keys, or their beginnings, that neither name a run nor are hyper-parameters, unless swept."""
LONGEST, LONGEST_VALUE = 80, 24


@dataclass(frozen=True, slots=True)
class Given:
    """The settings that somebody chose, of all that a run has.

    Attributes:
        settings: as written, by key; choices of a group, such as `loss=incomplete`, too.
        swept: the keys in which the runs of a sweep differ; none of a run by itself.
    """

    settings: Mapping[str, str] = field(default_factory=dict)
    swept: tuple[str, ...] = ()

    @classmethod
    def of(cls, overrides: Iterable[str], swept: Iterable[str] = ()) -> "Given":
        """From settings as on a command line, `KEY=VALUE`, `+KEY=VALUE`; `~KEY` is left out."""
        pairs = (o.lstrip("+").partition("=") for o in overrides if not o.startswith("~"))
        settings = {key: value for key, _, value in pairs}
        return cls(settings, tuple(key for key in swept if key in settings))

    @property
    def keys(self) -> list[str]:
        """Those of the result, the swept ones first."""
        rest = [
            key
            for key in self.settings
            if key not in self.swept and not key.startswith(NOT_OF_THE_RESULT)
        ]
        return [*self.swept, *rest]

    @property
    def label(self) -> str:
        """A short name that is safe for files: `rep=64,lr=0.1`; empty if nothing was set.

        Of a sweep's run only what is swept. A key is named by its last part where no other ends so.
        """
        keys = list(self.swept) or self.keys
        last = [key.rpartition(".")[2] for key in keys]
        parts = []
        for key, name in zip(keys, last, strict=True):
            value = _safe(_shown(self.settings[key]))
            whole = key if last.count(name) > 1 else name
            parts.append(f"{_safe(whole)}={value[:LONGEST_VALUE]}")
        text = ""
        for number, part in enumerate(parts):
            longer = f"{text},{part}" if text else part
            if len(longer) > LONGEST:
                return f"{text},+{len(parts) - number}" if text else part[:LONGEST]
            text = longer
        return text

    def hyper_parameters(self, settings: Mapping[str, Any]) -> dict[str, float | str]:
        """What was set, as numbers and text; of paths the name.

        Args:
            settings: all of the run, in plain types, by dotted key.
        """
        found: dict[str, float | str] = {}
        for key in self.keys:
            value = settings.get(key, self.settings[key])
            if isinstance(value, bool):
                value = str(value).lower()
            found[key] = value if isinstance(value, int | float) else _shown(str(value))
        return found


def _shown(value: str) -> str:
    value = value.strip("'\"")
    return Path(value).name or value if "/" in value else value


def _safe(text: str) -> str:
    return re.sub(r"[^\w.+-]", "_", text, flags=re.ASCII)
