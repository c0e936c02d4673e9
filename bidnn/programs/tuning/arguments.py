"""The command line of `bidnn tune`, to Hydra and back: ranges, and settings of the trainings.

Hydra would take `space.model.rep=choice(64,128)` for a sweep, and knows no `log(0.01,0.3)`; and the
settings of the trainings are those of `bidnn train`, which composes them.
"""

from collections.abc import Iterable
from dataclasses import fields

from hydra.core.override_parser.overrides_parser import OverridesParser

from bidnn.programs.config import TuneConfig
from bidnn.programs.quoting import quoted, unescaped

SPACE, TRAIN = "space.", "train"
OWN = {field.name for field in fields(TuneConfig)}


def is_own(argument: str) -> bool:
    """Whether a setting is of `tune` itself, or of Hydra; all others are of the trainings."""
    key = argument.partition("=")[0].lstrip("+~")
    return key.split(".")[0].split("/")[0] in {*OWN, "hydra"}


def is_range(argument: str) -> bool:
    """Whether a setting is `space.KEY=RANGE`, which is no text of Hydra's grammar."""
    return "=" in argument and argument.lstrip("+").startswith(SPACE)


def as_hydra(settings: Iterable[str]) -> list[str]:
    """What Hydra is given for settings as they are typed.

    `space.KEY=RANGE` becomes an entry of `space`, and what is not of `tune` one of `train`.
    """
    own: list[str] = []
    training: list[str] = []
    for argument in settings:
        key, mark, value = argument.partition("=")
        if is_range(argument):
            searched = key.lstrip("+").removeprefix(SPACE)
            own.append(f"+space={{{searched}:{quoted(value) if value != 'null' else value}}}")
        elif key == TRAIN and (given := _listed(argument)) is not None:
            training += given
        elif is_own(argument) or not (mark or argument.startswith("~")):
            own.append(argument)
        else:
            training.append(argument)
    return own + ([f"{TRAIN}=[{','.join(map(quoted, training))}]"] if training else [])


def as_typed(overrides: Iterable[str]) -> list[str]:
    """The settings that `as_hydra` makes these of, as one would type them."""
    found: list[str] = []
    for override in overrides:
        if override.startswith(f"{TRAIN}=") and (given := _listed(override)) is not None:
            found += given
        elif override.startswith("+space={"):
            ranges = OverridesParser.create().parse_override(override).value()
            assert isinstance(ranges, dict)
            for key, value in ranges.items():
                found.append(f"{SPACE}{key}={'null' if value is None else value}")
        else:
            found.append(override)
    return found


def _listed(override: str) -> list[str] | None:
    """The settings in `train=[…]`; None for what is no list, which Hydra refuses."""
    (parsed,) = OverridesParser.create().parse_overrides([override])
    value = parsed.value()
    return [unescaped(str(part)) for part in value] if isinstance(value, list) else None
