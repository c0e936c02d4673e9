"""One line of the table that `make bench` prints."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A figure of this program beside another one, measured in the same run.

    Attributes:
        name: what was done.
        ours: the figure.
        other: the figure that it is compared with.
        unit: of both.
        against: what the other one is.
        aim: what is wanted of `ratio`, in words, or "".
    """

    name: str
    ours: float
    other: float
    unit: str
    against: str
    aim: str = ""

    @property
    def ratio(self) -> float:
        """Ours by the other one."""
        return self.ours / self.other

    def __str__(self) -> str:
        """The line."""
        figures = f"{self.ours:10.4g}{self.other:10.4g} {self.unit:7}{self.ratio:7.2f} ×"
        return f"{self.name:34}{figures}  {self.against:30}{self.aim}"


HEAD = f"{'':34}{'bidnn':>10}{'other':>10} {'unit':7}{'ratio':>7}    {'against':30}wanted"
