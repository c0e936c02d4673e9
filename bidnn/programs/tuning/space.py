"""What is searched: a range for each key, as `conf/space/` and the command line write them."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, TypeAlias

from bidnn.errors import UserError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

WRITE = (
    "write choice(a,b,…), int(low,high), float(low,high) or log(low,high); int and float take "
    "step=…, int takes log"
)
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


@dataclass(frozen=True, slots=True)
class Choices:
    """One of several values, each as it would be typed.

    Attributes:
        values: at least two, all different.
    """

    values: tuple[str, ...]

    @property
    def text(self) -> str:
        """The range as it is written."""
        return f"choice({','.join(self.values)})"

    @property
    def tried(self) -> tuple[str, ...]:
        """The values that are looked at before the first trial: all."""
        return self.values

    def typed(self, value: Any) -> str:  # noqa: ANN401 — what Optuna drew
        """A value as it would be typed."""
        return str(value)

    def distribution(self) -> "BaseDistribution":
        """The same for Optuna."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)


@dataclass(frozen=True, slots=True)
class Numbers:
    """A number between two bounds, which are among the values.

    Attributes:
        low: the lower bound.
        high: the upper bound.
        whole: whole numbers only.
        log: drawn evenly by their logarithm.
        step: between neighbouring values, from `low` on; None: any number.
    """

    low: Decimal
    high: Decimal
    whole: bool
    log: bool
    step: Decimal | None = None

    @property
    def text(self) -> str:
        """The range as it is written."""
        name = "int" if self.whole else "log" if self.log else "float"
        step = "" if self.step is None else f",step={self.step}"
        return f"{name}({self.low},{self.high}{',log' if self.whole and self.log else step})"

    @property
    def tried(self) -> tuple[str, ...]:
        """The values that are looked at before the first trial: the bounds."""
        return self.typed(self.low), self.typed(self.high)

    def typed(self, value: Any) -> str:  # noqa: ANN401 — what Optuna drew
        """A value as it would be typed, to the last digit."""
        return str(int(value)) if self.whole else repr(float(value))

    def distribution(self) -> "BaseDistribution":
        """The same for Optuna."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.whole:
            step = 1 if self.step is None else int(self.step)
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=step)
        step_f = None if self.step is None else float(self.step)
        return FloatDistribution(float(self.low), float(self.high), log=self.log, step=step_f)


Range: TypeAlias = Choices | Numbers
Space: TypeAlias = dict[str, Range]


def read_space(node: Mapping[str, Any]) -> Space:
    """The ranges by key.

    Args:
        node: of the configuration, by dotted or nested keys; null takes a key out.

    Raises:
        UserError: naming the key whose range is none, or that nothing is searched.
    """
    given = dict(_flat(node))
    space = {key: read_range(key, text) for key, text in given.items() if text is not None}
    if not space:
        raise UserError(
            "space: nothing is searched; choose space=default, or give keys ranges, as "
            "'space.optimizer.lr=log(0.01,0.3)'"
        )
    return space


def _flat(node: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        key = f"{above}{name}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{key}.")
        else:
            yield key, value


def read_range(key: str, text: Any) -> Range:  # noqa: ANN401 — whatever is written there
    """One range, as `choice(64,128)`, `int(64,512,step=64)`, `float(0,0.5)` or `log(0.01,0.3)`.

    Args:
        key: that it is of, for messages.
        text: what is written.

    Raises:
        UserError: naming the key, and what is wrong.
    """
    told = f"space.{key}={text}"
    found = re.fullmatch(r"(choice|int|float|log)\s*\((.*)\)", str(text).strip(), re.DOTALL)
    if found is None:
        raise UserError(f"{told}: no range; {WRITE}")
    parts = [part.strip() for part in _apart(found[2])]
    if "" in parts:
        raise UserError(f"{told}: a value is missing; {WRITE}")
    return _choices(told, parts) if found[1] == "choice" else _numbers(told, found[1], parts)


def _apart(text: str) -> list[str]:
    """What commas separate, but for those within brackets or quotes."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        depth += (letter in "([{") - (letter in ")]}") if not quote else 0
        if letter == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _choices(told: str, values: list[str]) -> Choices:
    twice = {value for value in values if values.count(value) > 1}
    if twice:
        raise UserError(f"{told}: {', '.join(sorted(twice))} is there twice")
    if len(values) < 2:
        raise UserError(f"{told}: one value is no choice; set KEY=VALUE without space.")
    return Choices(tuple(values))


def _numbers(told: str, name: str, parts: list[str]) -> Numbers:
    whole, log, step = name == "int", name == "log", None
    for part in parts[2:]:
        if whole and part == "log":
            log = True
        elif not log and name != "log" and step is None and part.startswith("step="):
            step = _number(told, part.removeprefix("step="), whole)
        else:
            raise UserError(f"{told}: {part} has no meaning here; {WRITE}")
    if len(parts) < 2:
        raise UserError(f"{told}: two bounds are needed, low and high; {WRITE}")
    low, high = (_number(told, part, whole) for part in parts[:2])
    if not low < high:
        raise UserError(f"{told}: the lower bound {low} must be below the upper one, {high}")
    if log and low <= 0:
        raise UserError(f"{told}: by logarithm, bounds must be above 0")
    if log and step is not None:
        raise UserError(f"{told}: by logarithm there is no step; leave one of them out")
    if step is not None and (step <= 0 or (high - low) % step):
        raise UserError(f"{told}: the upper bound must be some steps of {step} above the lower one")
    return Numbers(low, high, whole, log, step)


def _number(told: str, text: str, whole: bool) -> Decimal:
    try:
        if NUMBER.fullmatch(text) is None or not math.isfinite(float(text)):
            raise InvalidOperation
        value = Decimal(text)
    except InvalidOperation:
        raise UserError(f"{told}: {text} is no number") from None
    if whole and value != value.to_integral_value():
        raise UserError(f"{told}: {text} is no whole number; write float(low,high)")
    return value.to_integral_value() if whole else value
