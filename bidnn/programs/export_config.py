"""The configuration of `bidnn export`."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from bidnn.errors import UserError
from bidnn.publishing.card import Card


@dataclass(slots=True, kw_only=True)
class ModelExportConfig:
    """Writes a trained model for others: a folder to share, ONNX graphs, or both.

    Attributes:
        checkpoint: the trained model: a run's folder, a checkpoint or a saved model; `bidnn export
            RUN` names it, too.
        pretrained: a new folder to share, for `bidnn.load` and the Hugging Face Hub; it gets
            `model.safetensors`, `config.json` and `README.md`.
        card: what only you can say of the model, for its README.
        onnx: a new folder for graphs, each checked against the model; it gets `embed.onnx`,
            `encode_first.onnx`, `translate_first_to_second.onnx` and those of the other modality.
        data: rows that the graphs are checked on; null: made ones.
        seed: of dropped modalities, with `data.missing_rate`.
    """

    checkpoint: str = MISSING
    pretrained: str | None = None
    card: Card = field(default_factory=Card)
    onnx: str | None = None
    data: Any = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses what no single part can see to be wrong.

        Raises:
            UserError: naming the keys.
        """
        if self.pretrained is None and self.onnx is None:
            raise UserError("nothing to write; name new folders: pretrained=FOLDER, onnx=FOLDER")
        if self.pretrained is not None and self.pretrained == self.onnx:
            raise UserError(f"pretrained={self.pretrained}, and onnx, too: name two folders")
        if self.pretrained is None and self.card.plain():
            name = next(iter(self.card.plain()))
            raise UserError(f"card.{name}: for the README of pretrained=FOLDER; add that")
        if self.onnx is None and self.data is not None:
            raise UserError("data: rows that graphs are checked on, for onnx=FOLDER; add that")
