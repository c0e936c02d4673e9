"""What a report warns of: what was measured, and the setting that may fix it, if it is not set."""

from collections.abc import Mapping
from typing import Any

from bidnn.errors import counted
from bidnn.report.folder import Run
from bidnn.training.advice import SETTINGS, Words

RISEN, FALLS, BETTER = 1.05, 0.02, 0.98
BURIED, ALIKE = 0.5, 0.9
FEW = 10
WAYS = {
    "mean": "the mean",
    "nearest": "the nearest row",
    "nearest10": "the mean of the ten nearest rows",
    "ridge": "ridge regression",
}


def warnings(run: Run, facts: Mapping[str, Any], words: Words = SETTINGS) -> list[dict[str, str]]:
    """What was warned of in the training, then what the report itself has found.

    Args:
        run: as it was read.
        facts: of the page, see `run.facts`.
        words: how the caller writes a setting.

    Returns:
        Each with `text`, and `fix`, a setting; empty where the text says it, or nothing fixes it.
    """
    found = [{"text": line, "fix": ""} for line in run.warnings]
    curves = _curves(run, words)
    found += curves
    longer = next((entry["fix"] for entry in curves if entry["text"].startswith("The loss of")), "")
    found += _translations(run, facts.get("translation"), words, longer)
    found += _comparable(run, facts.get("comparable"), words)
    empty = facts["rows"]["counts"]["without any"]
    if empty:
        has, are = ("has", "its vector is") if empty == 1 else ("have", "their vectors are")
        text = f"{counted(empty, 'row')} {has} neither modality: {are} zero, and near to nothing."
        found.append({"text": text, "fix": ""})
    return found


def _curves(run: Run, words: Words) -> list[dict[str, str]]:
    """Held-out loss that rises again, or training loss that still falls."""
    held, trained = run.series("val/loss"), run.series("train/loss")
    if len(held) >= FEW:
        epoch, least = min(held, key=lambda point: point[1])
        tail = _mean(held[-max(1, len(held) // 10) :])
        if least > 0 and tail > RISEN * least and epoch < 0.9 * held[-1][0]:
            text = (
                f"The held-out loss was lowest after epoch {epoch} of {held[-1][0]} "
                f"({least:.4g}), and rose to {tail:.4g}: the network learns its rows by heart."
            )
            kept = run.setting("callbacks.best") or _apart(run)
            return [{"text": text, "fix": "" if kept else words("callbacks", "early_stopping")}]
    steady = run.setting("optimizer.schedule") in (None, "constant")
    tenth = len(trained) // 10
    if len(trained) < 2 * FEW or not steady or run.kept is not None:
        return []
    before, last = _mean(trained[-2 * tenth : -tenth]), _mean(trained[-tenth:])
    if not (before > 0 and last < before * (1 - FALLS)):
        return []
    text = (
        f"The loss of the training rows still falls in the end, by {1 - last / before:.1%} in the "
        "last tenth of the epochs."
    )
    for key in ("trainer.max_steps", "trainer.max_epochs"):
        most = run.setting(key)
        if isinstance(most, int) and most > 0:
            return [{"text": text, "fix": words(key, str(2 * most))}]
    return []


def _translations(
    run: Run, found: Mapping[str, Any] | None, words: Words, longer: str
) -> list[dict[str, str]]:
    """A baseline that is better than the network; no rows held out."""
    if found is None:
        return []
    entries = []
    for direction, errors in found["errors"].items():
        ways = {way: error for way, error in errors.items() if way != "network"}
        best = min(ways, key=lambda way: ways[way])
        if ways[best] < BETTER * errors["network"]:
            text = (
                f"Translation {direction.replace('_to_', ' → ')}: {WAYS[best]} leaves "
                f"{ways[best]:.3f} of the variance, the model {errors['network']:.3f}."
            )
            fix = "" if _apart(run) else longer or _stronger(run, words)
            if found["held_out"] and not run.setting("embedding.stacked"):
                fix = words("embedding.stacked", "true")
            entries.append({"text": text, "fix": fix})
    if not found["held_out"]:
        text = (
            "No rows were held out: the network has trained on the rows that its translations are "
            "measured on, which flatters it."
        )
        entries.append({"text": text, "fix": words("data.val_fraction", "0.05")})
    return entries


def _stronger(run: Run, words: Words) -> str:
    """What makes a network translate better, if it is not set; empty if it is."""
    return words("model.dropout", "0") if run.setting("model.dropout") else ""


def _apart(run: Run) -> bool:
    """Whether the embedding is of a head that neither translations nor held-out losses are of."""
    return bool(run.setting("embedding.space") == "diffusion")


def _comparable(run: Run, found: Mapping[str, Any] | None, words: Words) -> list[dict[str, str]]:
    """Kinds of rows that a search buries, and rows that all look alike."""
    if found is None:
        return []
    entries = []
    buried = [
        (share, query, kind)
        for query, shares in found["shares"].items()
        for kind, share in shares.items()
        if share < BURIED
    ]
    if buried and not found["hidden"]:
        share, query, kind = min(buried)
        text = (
            f"Rows that are {query} find {kind} rows among their ten nearest {share:.2f} times as "
            "often as chance would have it."
        )
        needed = {"centring": "presence", "whitening": 0, "shared": 1.5}
        own = {key: run.setting(f"embedding.{key}") for key in needed}
        lacks = [key for key in needed if (own[key] or 0) != needed[key]]
        fix = " ".join(words(f"embedding.{key}", str(needed[key])) for key in lacks)
        entries.append({"text": text, "fix": "" if own["shared"] else fix})
    alike = found["cosines"]["complete–complete"]["mean"]
    if alike > ALIKE:
        text = f"Rows are all much alike: the mean cosine of complete rows is {alike:.2f}."
        centred = run.setting("embedding.centring") not in (None, "none")
        entries.append({"text": text, "fix": "" if centred else words("embedding", "even")})
    return entries


def _mean(points: list[tuple[int, float]]) -> float:
    return sum(value for _, value in points) / len(points)
