"""Files that a pattern names, in the order of the numbers in their names."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from itertools import pairwise
from pathlib import Path

from bidnn.errors import UserError


@dataclass(frozen=True, slots=True)
class Numbered:
    """Shards of one thing, whose rows follow each other.

    Attributes:
        pattern: as it was given, for messages.
        files: their paths, or addresses, in the order of their numbers.
        numbers: of each; None where their names do not differ in one number.
    """

    pattern: str
    files: tuple[str, ...]
    numbers: tuple[int, ...] | None


def is_pattern(path: str) -> bool:
    """Whether it names files by `*`, `?` or `[]`, and is none itself."""
    return has_magic(path) and not Path(path).exists()


def by_number(path: Path | str) -> list[tuple[bool, int, str]]:
    """Sorts part-2 before part-10."""
    pieces = re.split(r"(\d+)", str(path))
    return [(not p.isdigit(), int(p) if p.isdigit() else 0, p) for p in pieces]


def matching(pattern: str, key: str) -> list[Path]:
    """The files of a pattern, by number; `**` is any folders.

    Raises:
        UserError: naming the key, if there is none.
    """
    found = [Path(name) for name in glob(pattern, recursive=True)]  # noqa: PTH207 — from any folder
    files = sorted((file for file in found if file.is_file()), key=by_number)
    if not files:
        raise UserError(f"{key}={pattern}: no file is named so")
    return files


def find_numbered(pattern: str, key: str) -> Numbered:
    """The shards of a pattern; see `numbered`."""
    return numbered(pattern, [str(file) for file in matching(pattern, key)], key)


def numbered(pattern: str, files: Sequence[str], key: str) -> Numbered:
    """The shards that are in some files.

    Args:
        pattern: that named them, for messages.
        files: one at least, sorted as `by_number` does.
        key: the setting, for messages.

    Raises:
        UserError: if a number between two others is missing, or is there twice.
    """
    numbers = _numbers(files)
    for (before, low), (file, high) in pairwise(zip(files, numbers or (), strict=False)):
        if high == low:
            raise UserError(f"{file} and {before}: both have number {low}; remove one")
        if high > low + 1:
            gone = "number" if high == low + 2 else f"numbers to {high - 1}, from"
            raise UserError(
                f"{key}={pattern}: {gone} {low + 1} missing between {before} and {file}; all "
                "shards are needed, numbered one after another"
            )
    return Numbered(pattern, tuple(files), numbers)


def check_alike(
    one: Numbered, one_rows: Sequence[int], other: Numbered, other_rows: Sequence[int]
) -> None:
    """Refuses shards of the same rows that do not belong together.

    Args:
        one: shards of a modality.
        one_rows: of each of its shards.
        other: shards of the other one, or of ids, or labels.
        other_rows: likewise.

    Raises:
        UserError: naming the shard that has no partner, or both that have not the same rows.
    """
    check_numbers(one, other)
    for left, rows, right, others in zip(one.files, one_rows, other.files, other_rows, strict=True):
        if rows != others:
            raise UserError(
                f"{left} has {rows} rows, {right} {others}; shards of the same number are the "
                "same rows"
            )


def check_numbers(one: Numbered, other: Numbered) -> None:
    """Refuses shards that are no pairs; see `check_alike`.

    Raises:
        UserError: naming the shard that has no partner.
    """
    if one.numbers is not None and other.numbers is not None:
        for have, lack in ((one, other), (other, one)):
            for number, file in zip(have.numbers or (), have.files, strict=True):
                if number not in (lack.numbers or ()):
                    raise UserError(
                        f"{lack.pattern}: number {number} is missing, of which {file} is there; "
                        "shards of the same number are the same rows"
                    )
    if len(one.files) != len(other.files):
        raise UserError(
            f"{one.pattern} names {len(one.files)} files, {other.pattern} {len(other.files)}; "
            "shards are pairs"
        )


def _numbers(files: Sequence[str]) -> tuple[int, ...] | None:
    """The number that the names differ in; of one file, the last in its name."""
    pieces = [re.split(r"(\d+)", file) for file in files]
    if len(files) == 1:
        digits = re.findall(r"\d+", Path(files[0]).name)
        return (int(digits[-1]),) if digits else None
    if len({len(p) for p in pieces}) > 1 or len({tuple(p[::2]) for p in pieces}) > 1:
        return None
    columns = [[int(text) for text in column] for column in list(zip(*pieces, strict=True))[1::2]]
    differing = [column for column in columns if len(set(column)) > 1]
    return tuple(differing[0]) if len(differing) == 1 else None
