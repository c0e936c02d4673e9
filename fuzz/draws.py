"""Combinations of settings, a fault and a moment, drawn at random."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

EPOCHS, EVERY = 9, 2
FAULTS = ("SIGKILL", "SIGTERM", "SIGINT", "full disk")
MOMENTS = ("training", "compile", "interval output", "final output", "command")
KINDS = {
    "plain": (),
    "fast": ("speed=fast",),
    "ddp": ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"),
}
OPTIONS = {
    "best": ("callbacks=best",),  # of which early stopping is more
    "early stopping": (
        *("callbacks=early_stopping", "callbacks.early_stopping.patience=1"),
        "callbacks.early_stopping.min_delta=0.01",
    ),
    "command": (),
    "csv": ("logger=csv",),
    "incomplete": ("experiment=incomplete", "trainer.max_steps=-1"),
    "cosine": ("optimizer.schedule=cosine",),
}


@dataclass(frozen=True)
class Draw:
    """What is run and how it is interrupted.

    Attributes:
        number: of the draw; with the seed it repeats it.
        kind: of KINDS.
        options: of OPTIONS, sorted.
        by_score: whether early stopping and the best checkpoint watch the command's metric.
        often: whether checkpoints come every few batches, too.
        fault: of FAULTS.
        moment: of MOMENTS.
        dice: for all that is decided later.
    """

    number: int
    kind: str
    options: tuple[str, ...]
    by_score: bool
    often: bool
    fault: str
    moment: str
    dice: random.Random = field(compare=False)

    @classmethod
    def of(
        cls,
        seed: int,
        number: int,
        kinds: Sequence[str] = tuple(KINDS),
        moments: Sequence[str] = MOMENTS,
    ) -> "Draw":
        """The draw of that number, of some kinds and moments alone."""
        dice = random.Random(f"{seed}-{number}")
        fault, moment = dice.choice(FAULTS), dice.choice(moments)
        weights = [{"plain": 3, "fast": 1, "ddp": 1}[kind] for kind in kinds]
        kind = "fast" if moment == "compile" else dice.choices(kinds, weights)[0]
        options = {name for name in OPTIONS if dice.random() < 0.5}
        options |= {"command"} if moment == "command" else set()
        watches = bool(options & {"best", "early stopping"}) and "command" in options
        by_score = watches and dice.random() < 0.5
        often = dice.random() < 0.5
        return cls(number, kind, tuple(sorted(options)), by_score, often, fault, moment, dice)

    @property
    def settings(self) -> tuple[str, ...]:
        """What decides the result."""
        chosen = [o for name in OPTIONS if name in self.options for o in OPTIONS[name]]
        if self.by_score:
            chosen += ["callbacks.best.monitor=score", f"callbacks.best.every_n_epochs={EVERY}"]
        return (*KINDS[self.kind], *chosen)

    def __str__(self) -> str:
        """Its number, the fault, the moment and the settings."""
        what = " + ".join((self.kind, *self.options, *(["by score"] if self.by_score else [])))
        return f"{self.number}: {self.fault}, {self.moment}: {what}"
