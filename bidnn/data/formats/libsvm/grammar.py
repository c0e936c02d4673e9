"""The lines of a libsvm file, parsed exactly: the grammar, and every refusal with its message."""

import re
from array import array
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from bidnn.errors import UserError

LABEL_LIMIT = 1000
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
COMMENT = re.compile(rb"#[^\n]*")
# Linear for any length of digits: no two neighbouring parts can match the same character.
_VALUE = re.compile(rb"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INDEX = re.compile(rb"[0-9]+")
_FLOAT32_MAX = float(np.finfo(np.float32).max)


class IndexBase(Enum):
    """Where a file's indices start: `auto` lets the file say so, see `read_libsvm`."""

    auto = "auto"
    one = "one"
    zero = "zero"


class LibsvmError(UserError):
    """A libsvm file that cannot be read, in one line: file, line, what is there, the way out."""


@dataclass(slots=True)
class IndexRule:
    """Which indices a file may use, and what its lines have shown so far.

    Attributes:
        name: the file, for messages.
        mod1size: columns of the first modality.
        mod2size: columns of the second modality.
        base: as declared.
        zero_line: the first line with the index 0, or None.
        full_line: the first line with the index mod1size + mod2size, or None.
    """

    name: str
    mod1size: int
    mod2size: int
    base: IndexBase
    zero_line: int | None = None
    full_line: int | None = None

    @property
    def size(self) -> int:
        """The number of columns, which is also the highest index of a file that starts at 1."""
        return self.mod1size + self.mod2size

    @property
    def lowest(self) -> int:
        """The lowest index that the next line may use."""
        return 1 if self.base is IndexBase.one or self.full_line is not None else 0

    @property
    def highest(self) -> int:
        """The highest index that the next line may use."""
        zero_based = self.base is IndexBase.zero or self.zero_line is not None
        return self.size - 1 if zero_based else self.size

    @property
    def is_decided(self) -> bool:
        """Whether the file's base is known."""
        return (
            self.base is not IndexBase.auto
            or self.zero_line is not None
            or self.full_line is not None
        )

    @property
    def first_index(self) -> int:
        """The index of the first column; 1 if nothing has shown otherwise."""
        return 0 if self.base is IndexBase.zero or self.zero_line is not None else 1

    def take_note(self, rows: "RawRows") -> bool:
        """Takes note of rows that keep to the rule by themselves.

        Returns:
            False if they contradict earlier ones, or themselves, on where indices start.
        """
        zero_line = self.zero_line or rows.zero_line
        full_line = self.full_line or rows.full_line
        if zero_line and full_line:
            return False
        self.zero_line, self.full_line = zero_line, full_line
        return True

    def check(self, index: int, token: str, line: int) -> None:
        """Takes note of one index.

        Args:
            index: at least 0.
            token: the token that it is from, as it is to be shown.
            line: its number.

        Raises:
            LibsvmError: if the file cannot have it.
        """
        where = f"{self.name}, line {line}: index {index} in {token}"
        sizes = f"mod1size + mod2size = {self.mod1size} + {self.mod2size} = {self.size}"
        if index > self.size:
            raise LibsvmError(f"{where} is beyond {sizes}; correct the sizes or the file")
        if index == self.size and self.highest < index:
            because = (
                "the indices are declared to start at 0; set index_base=one if they start at 1"
                if self.base is IndexBase.zero
                else f"line {self.zero_line} has an index 0, so that indices start at 0; "
                "correct the sizes or the file"
            )
            raise LibsvmError(f"{where} is beyond the last column of {sizes}, because {because}")
        if index < self.lowest:
            because = (
                "the indices are declared to start at 1; set index_base=zero if they start at 0"
                if self.base is IndexBase.one
                else f"line {self.full_line} has the index {self.size} = mod1size + mod2size, so "
                "that indices start at 1; correct the sizes or the file"
            )
            raise LibsvmError(f"{where} cannot be, because {because}")
        if index == 0 and self.zero_line is None:
            self.zero_line = line
        if index == self.size and self.full_line is None:
            self.full_line = line


@dataclass(frozen=True, slots=True)
class RawRows:
    """Rows as they are in the file: sorted, but their indices not yet shifted to columns.

    Attributes:
        labels: (rows,) text.
        indptr: (rows + 1,) int64; row i is at `indptr[i]:indptr[i + 1]` in the other two.
        indices: (values,) int32, strictly increasing within a row.
        values: (values,) float32, finite; zeros are kept here.
        zero_line: the first line with the index 0, if that is still to be taken note of.
        full_line: likewise of the index mod1size + mod2size.
    """

    labels: list[str]
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[np.float32]
    zero_line: int | None = None
    full_line: int | None = None


def parse_exactly(block: bytes, first_line: int, rule: IndexRule) -> RawRows:
    """Parses whole lines one token at a time.

    Args:
        block: whole lines; the last may lack its newline.
        first_line: the number of the block's first line.
        rule: which indices there may be; takes note of those that are seen.

    Raises:
        LibsvmError: at the first line that is not as it should be.
    """
    labels: list[str] = []
    indptr = array("q", [0])
    indices, values = array("i"), array("f")
    for number, line in enumerate(block.split(b"\n"), first_line):
        if b"\0" in line:
            raise LibsvmError(
                f"{rule.name}, line {number}: a NUL byte; this is a binary file (or UTF-16 text), "
                "not libsvm text"
            )
        tokens = COMMENT.sub(b"", line).split()
        if not tokens:
            continue
        labels.append(_parse_label(tokens[0], rule.name, number))
        row: dict[int, float] = {}
        for token in tokens[1:]:
            _parse_feature(token, row, rule, number)
        for index in sorted(row):
            indices.append(index)
            values.append(row[index])
        indptr.append(len(indices))
    return RawRows(
        labels,
        np.frombuffer(indptr, dtype=np.int64),
        np.array(indices, dtype=np.int32),
        np.array(values, dtype=np.float32),
    )


def _show(token: bytes) -> str:
    """A token, cut if it is long, on one line: repr escapes whatever is not printable."""
    text = token.decode("utf-8", "backslashreplace")
    if len(text) <= 40:
        return repr(text)
    return f"{text[:25] + '…' + text[-8:]!r} ({len(text)} characters)"


def _parse_label(token: bytes, name: str, line: int) -> str:
    shown = _show(token)
    if b":" in token:
        raise LibsvmError(
            f"{name}, line {line}: the row starts with {shown}, not with a label; put a label "
            "without a colon at the start of each line"
        )
    if token.startswith(BYTE_ORDER_MARK):
        raise LibsvmError(
            f"{name}, line {line}: a byte order mark within the file, as of files put together; "
            "remove it"
        )
    if len(token) > LABEL_LIMIT:
        raise LibsvmError(
            f"{name}, line {line}: the label {shown} is longer than {LABEL_LIMIT} bytes; "
            "this does not look like libsvm text"
        )
    try:
        return token.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LibsvmError(
            f"{name}, line {line}: the label {shown} is not UTF-8; this is a binary file, or "
            "text to be converted to UTF-8 first"
        ) from error


def _parse_feature(token: bytes, row: dict[int, float], rule: IndexRule, line: int) -> None:
    """Adds one `index:value` to its row."""
    where, shown = f"{rule.name}, line {line}", _show(token)
    index_text, colon, value_text = token.partition(b":")
    if not colon:
        raise LibsvmError(
            f"{where}: {shown} has no colon; write index:value, without spaces around the colon "
            "(a file that ends so may have been cut off)"
        )
    if not _INDEX.fullmatch(index_text):
        kind = "negative" if re.fullmatch(rb"-[0-9]+", index_text) else "not a plain integer"
        raise LibsvmError(
            f"{where}: the index of {shown} is {kind}; write it in digits only, from 0 or 1 to "
            f"mod1size + mod2size = {rule.size}"
        )
    digits = index_text.lstrip(b"0") or b"0"
    if len(digits) > 18:
        raise LibsvmError(
            f"{where}: the index of {shown} is beyond mod1size + mod2size = "
            f"{rule.mod1size} + {rule.mod2size} = {rule.size}; correct the sizes or the file"
        )
    index = int(digits)
    rule.check(index, shown, line)
    if index in row:
        raise LibsvmError(f"{where}: index {index} comes twice; keep one of the two")
    if not value_text:
        raise LibsvmError(
            f"{where}: {shown} has no value after the colon; write index:value, without spaces "
            "around the colon (a file that ends so may have been cut off)"
        )
    if not _VALUE.fullmatch(value_text):
        if value_text.lower().lstrip(b"+-") in {b"nan", b"inf", b"infinity"}:
            raise LibsvmError(
                f"{where}: the value of {shown} is not finite; leave the index out where a "
                "modality is missing"
            )
        raise LibsvmError(
            f"{where}: the value of {shown} is not a decimal number; write it like -0.5 or 1.5e-3"
        )
    value = float(value_text)
    with np.errstate(over="ignore"):
        finite = abs(value) <= _FLOAT32_MAX or bool(np.isfinite(np.float32(value)))
    if not finite:
        raise LibsvmError(
            f"{where}: the value of {shown} is too large for float32 (at most 3.4028235e38); "
            "scale the features down"
        )
    row[index] = value
