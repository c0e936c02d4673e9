"""The README of a model that is shared: what is known of it, and what its maker says of it.

Nothing is made up: where nothing is recorded, or said, that is what stands there.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from importlib.metadata import version
from typing import Any, Self

from bidnn.errors import UserError
from bidnn.model.about import digest
from bidnn.model.description import describe_model
from bidnn.model.finishing import STRATEGIES, MissingStrategy, Space
from bidnn.model.model import Model
from bidnn.publishing.facts import Training

TAGS = ("multimodal", "embeddings", "missing-modality", "crossmodal")
LONGEST = 100_000
NOT_RECORDED = "Not recorded."
NO_FIGURES = ("learning_rate",)
MEANINGS = {
    "explained/": "share of the held-out rows' variance that translations explain",
    "agreement": "of the ten nearest by one modality's embedding, the share near in the other one",
    "map/raw": "mAP by label of the raw vectors, zeros where a modality is missing",
    "map/embedding": "mAP by label of the embedding",
    "val/": "loss on held-out rows",
    "train/": "loss on training rows",
}


@dataclass(slots=True, kw_only=True)
class Card:
    """What only a model's maker can say of it; Markdown, in whichever fields there is something.

    Attributes:
        title: of the page.
        description: what the model is.
        intended_use: what it is meant for.
        limits: what it is not good for, or was not tried on.
        data: what the rows were, and where features come from.
        license: of the weights, by its SPDX name.
        language: of texts, by its ISO code.
        tags: further words to be found by.
        datasets: on the Hub, by their names.
    """

    title: str | None = None
    description: str | None = None
    intended_use: str | None = None
    limits: str | None = None
    data: str | None = None
    license: str | None = None
    language: str | None = None
    tags: list[str] = field(default_factory=list)
    datasets: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, given: Any, where: str = "card") -> Self:  # noqa: ANN401 — whatever a file says
        """A card of plain data, which may come from anybody.

        Args:
            given: a card, or texts by the names of the attributes; None for an empty one.
            where: it was found, for the message.

        Raises:
            UserError: naming what no card has, or is no text.
        """
        if isinstance(given, cls):
            given = given.plain()
        given = {} if given is None else given
        if not isinstance(given, Mapping):
            raise UserError(f"{where}: texts by name are needed, not {type(given).__name__}")
        lists, known = ("tags", "datasets"), [each.name for each in fields(cls)]
        for name, value in given.items():
            if name not in known:
                near = get_close_matches(str(name), known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}"
                raise UserError(f"{where}: a card has no {str(name)[:40]!r}; {hint}")
            texts = value if name in lists and isinstance(value, list | tuple) else [value]
            if name in lists and isinstance(value, str):
                raise UserError(f"{where}: {name} is a list of texts, not one")
            if not all(isinstance(t, str) and len(t) <= LONGEST for t in texts if t is not None):
                raise UserError(f"{where}: {name} is no text, or one of more than {LONGEST}")
        texts_by_name: dict[str, Any] = {k: list(v) if k in lists else v for k, v in given.items()}
        return cls(**texts_by_name)

    def plain(self) -> dict[str, Any]:
        """For a file; the reverse of `of`."""
        return {name: value for name, value in asdict(self).items() if value}


def readme(model: Model, training: Training, card: Card, name: str) -> str:
    """The text of the README.

    Args:
        model: that is shared.
        training: what is known of how it came to be.
        card: what its maker says.
        name: by which it is loaded: of the folder, or on the Hub.
    """
    parts = [
        f"# {card.title or name}",
        card.description or "",
        _does(model),
        f"## Use\n\n{_use(model, name)}",
        f"## Intended use\n\n{card.intended_use or _no_word('what it is meant for')}",
        f"## Limits\n\n{_limits(model, card)}",
        f"## Training data\n\n{_data(model, training, card)}",
        f"## Figures\n\n{_figures(training)}",
        f"## Model\n\n{_settings(model, training)}",
        "The method is that of Vukotić, Raymond, Gravier: Bidirectional Joint Representation "
        "Learning with Symmetrical Deep Neural Networks for Multimodal and Crossmodal "
        "Applications. ICMR 2016.",
    ]
    return _front(card) + "\n\n".join(part.strip() for part in parts if part) + "\n"


def _front(card: Card) -> str:
    """What the Hub reads; JSON is YAML."""
    tags = [*TAGS, *(tag for tag in card.tags if tag not in TAGS)]
    known: dict[str, Any] = {
        "library_name": "bidnn",
        "license": card.license,
        "language": card.language,
    }
    known |= {"tags": tags, "datasets": card.datasets}
    lines = [f"{key}: {json.dumps(value)}" for key, value in known.items() if value]
    return "\n".join(["---", *lines, "---", "", ""])


def _does(model: Model) -> str:
    return (
        f"Makes one vector of {sum(model.halves)} numbers of each row of two modalities, of "
        f"{model.mod1size} and of {model.mod2size} features, either of which may be missing, and "
        "predicts either modality from the other."
    )


def _use(model: Model, name: str) -> str:
    return "\n".join(
        (
            f"With bidnn {version('bidnn')} and its extra `hub`:",
            "",
            "```python",
            "from bidnn import BiDNN",
            "",
            f"net = BiDNN.from_pretrained({json.dumps(name)})",
            "vectors = net.transform(first, second)  # one is enough: transform(first=first)",
            "second = net.translate(first=first)",
            "```",
            "",
            f"`first` is (rows, {model.mod1size}) and `second` (rows, {model.mod2size}), in the "
            "units of the training data: the scaling is inside. Rows of NaN are missing.",
        )
    )


def _no_word(of: str) -> str:
    return f"Its maker has not said {of}."


def _limits(model: Model, card: Card) -> str:
    translated = (model.missing is MissingStrategy.translate, model.strategies == STRATEGIES)
    space = model.finish.config.space
    missing = {
        (True, True): "is translated from the other one first",
        (False, True): "is stood for by the other one's, a second time",
    }.get(translated, "is translated from the other one" if space is Space.inputs else "")
    if space is Space.diffusion:
        missing = "has no part in the vector, nor has one of zeros"
    elif not missing:
        missing = "is zeros at the input"
    facts = [
        "Features must be those of the same extractors, in the same order of columns; of others "
        "vectors mean nothing, and nothing notices.",
        "Vectors of two models, or of two trainings, cannot be compared.",
        f"Of a row that misses a modality, that modality {missing}; a row that misses both is a "
        "vector of zeros.",
    ]
    said = card.limits or _no_word("what else it is not good for")
    return "\n".join([said, "", *(f"- {fact}" for fact in facts)])


def _data(model: Model, training: Training, card: Card) -> str:
    said = card.data or _no_word("what the rows were")
    if training.rows is None:
        return f"{said}\n\nNumber and fingerprint of the rows: not recorded."
    rows = [
        ("rows", str(training.rows)),
        ("with both modalities", "" if training.complete is None else str(training.complete)),
        ("features", f"{model.mod1size} + {model.mod2size}"),
        ("SHA-256 of up to 64 MiB of them", training.fingerprint or ""),
    ]
    return f"{said}\n\n{_table(('', ''), [row for row in rows if row[1]])}"


def _figures(training: Training) -> str:
    if not training.metrics:
        return NOT_RECORDED
    rows = [
        (
            name,
            f"{value:.6g}",
            next((MEANINGS[key] for key in MEANINGS if name.startswith(key)), ""),
        )
        for name, value in training.metrics.items()
        if name not in NO_FIGURES
    ]
    return f"As its training logged them last.\n\n{_table(('', 'value', ''), rows)}"


def _settings(model: Model, training: Training) -> str:
    described = describe_model(model)
    rows = [(f"model.{key}", value) for key, value in described["network"].items()]
    rows += [("scaling", described["scaling"]), ("scaling.transform", described["transforms"])]
    rows += [(f"embedding.{key}", value) for key, value in described["embedding"].items()]
    rows += [("output.l2_norm", described["l2_norm"])]
    count = sum(values.numel() for values in model.network.parameters())
    rows += [("parameters", count), ("SHA-256 of the model", digest(model))]
    rows += [(f"trained with {name}", text) for name, text in training.versions.items()]
    texts = [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in rows]
    return _table(("", ""), texts)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, *cells in rows:
        marked = [_code(name), *(_code(cells[0]), *cells[1:])]
        lines.append(f"| {' | '.join(marked)} |")
    return "\n".join(lines)


def _code(text: str) -> str:
    """As it is, whatever it is: names may come from anybody."""
    return "`" + text.replace("`", "'").replace("|", "\\|") + "`"
