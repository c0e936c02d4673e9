"""libsvm text to and from arrays, whole blocks at a time by NumPy.

Eight characters are one 64-bit word, whose digits become a number, or the reverse, in three
multiplications. Nearly all of it runs outside Python's global lock, so that threads help.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bidnn.data.formats.libsvm.grammar import (
    BYTE_ORDER_MARK,
    COMMENT,
    LABEL_LIMIT,
    IndexRule,
    RawRows,
)

Positions = NDArray[np.int64]

_LF, _SPACE, _MINUS, _PLUS, _DOT, _ZERO, _COLON, _E = b"\n -+.0:e"
_PAD = 24  # spaces before the text: the three words before any of its positions are in the array
_TO_SPACE = bytes.maketrans(b"\t\r\x0b\x0c", b"    ")
# _KEEP[n] keeps the values of the last n of eight digits; the last character is the top byte.
_KEEP = np.array([0x0F0F0F0F0F0F0F0F >> 8 * (8 - n) << 8 * (8 - n) for n in range(9)], np.uint64)
_POWERS = np.array([float(f"1e{n}") for n in range(301)])
_ROUGHLY = 2.0**-49  # more than the seven roundings of a number's parts in float64 can add up to
_SIGNS = np.array([1, -1], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class _Block:
    """Text as characters, and where those are that are no digits.

    Attributes:
        text: lines whose tokens are separated by one space.
        chars: (_PAD + length,) the text's bytes, after some spaces.
        special: positions in `chars` of everything but digits.
        kinds: the characters at `special`.
        colons: where in `special` a colon is; every feature has one.
    """

    text: bytes
    chars: NDArray[np.uint8]
    special: Positions
    kinds: NDArray[np.uint8]
    colons: Positions


@dataclass(frozen=True, slots=True)
class _Values:
    """Where the parts of every feature's value are, as positions in `chars`.

    Attributes:
        starts: of the value, behind a minus.
        dots: of the decimal point, or of what follows the digits.
        digit_ends: behind the last digit before an exponent.
        ends: behind the value: a space or a newline.
        is_negative: whether it starts with a minus.
        whole: number of digits before the decimal point.
        fraction: number of digits after it.
    """

    starts: Positions
    dots: Positions
    digit_ends: Positions
    ends: Positions
    is_negative: NDArray[np.bool_]
    whole: Positions
    fraction: Positions


def parse_fast(text: bytes, first_line: int, rule: IndexRule) -> RawRows | None:
    """Parses whole lines, or gives up.

    Args:
        text: whole lines; the last may lack its newline.
        first_line: the number of the first line.
        rule: which indices there may be; is left as it is.

    Returns:
        What `parse_exactly` returns; None if anything is not as it should be, or just unusual.
    """
    if b"\0" in text or (not text.isascii() and BYTE_ORDER_MARK in text):
        return None
    if not text.endswith(b"\n"):
        text += b"\n"
    rows = None
    if not (b"#" in text or b"\t" in text or b"\r" in text):
        rows = _parse_plain(text, first_line, rule)
    if rows is None and (plain := _make_plain(text)) != text:
        rows = _parse_plain(plain, first_line, rule)
    return rows


def _make_plain(text: bytes) -> bytes:
    """Drops comments and whitespace that means nothing; a line keeps its number."""
    text = COMMENT.sub(b"", text).translate(_TO_SPACE)
    while b"  " in text:
        text = text.replace(b"  ", b" ")
    return text.replace(b" \n", b"\n").replace(b"\n ", b"\n").removeprefix(b" ")


def _parse_plain(text: bytes, first_line: int, rule: IndexRule) -> RawRows | None:
    chars = np.frombuffer(b" " * _PAD + text, dtype=np.uint8)
    # Every special character of every feature is accounted for below, so that what lies between
    # two of them needs no check: it is digits.
    special = np.flatnonzero((chars - np.uint8(_ZERO)) > 9)[_PAD:]
    kinds = chars[special]
    colons = np.flatnonzero(kinds == _COLON)
    if not colons.size:
        return None
    block = _Block(text, chars, special, kinds, colons)
    values = _find_values(block)
    if values is None:
        return None
    found = _find_labels(block)
    if found is None:
        return None
    labels, line_starts, indptr = found
    ends = special[colons]
    starts = np.concatenate(([0], values.ends[:-1] + 1))
    heads = indptr[:-1][np.diff(indptr) > 0]
    starts[heads] = special[colons[heads] - 1] + 1
    lengths = ends - starts
    if lengths.min() < 1 or lengths.max() > 8:
        return None
    indices = _read_digits(chars, ends, lengths).astype(np.int32)
    if indices.min() < rule.lowest or indices.max() > rule.highest:
        return None
    numbers = _read_values(block, values)
    if not np.isfinite(numbers).all():
        return None
    zero_line, full_line = (
        first_line + int(np.searchsorted(line_starts, ends[at.argmax()], "right")) - 1
        if at.any()
        else None
        for at in (indices == 0, indices == rule.size)
    )
    is_rising = indices[1:] > indices[:-1]
    is_rising[heads[1:] - 1] = True
    if not is_rising.all():
        rows = np.repeat(np.arange(len(labels)), np.diff(indptr))
        order = np.lexsort((indices, rows))
        indices, numbers = indices[order], numbers[order]
        if ((indices[1:] == indices[:-1]) & (rows[1:] == rows[:-1])).any():
            return None
    return RawRows(labels, indptr, indices, numbers, zero_line, full_line)


def _find_values(block: _Block) -> _Values | None:
    """Finds the parts of all values, of the form [-][digits][.digits][e[sign]digits]."""
    special, kinds, chars = block.special, block.kinds, block.chars
    colons = special[block.colons]
    is_negative = chars[colons + 1] == _MINUS
    at = block.colons + 1 + is_negative
    has_dot = kinds[at] == _DOT
    dots = special[at]
    at += has_dot
    digit_ends = ends = special[at]
    kind = kinds[at]
    scaled = np.flatnonzero((kind | 32) == _E)
    if scaled.size:
        sign = chars[digit_ends[scaled] + 1]
        is_signed = (sign == _MINUS) | (sign == _PLUS)
        at[scaled] += 1 + is_signed
        ends = special[at]
        kind = kinds[at]
        if (ends[scaled] - digit_ends[scaled] - is_signed).min() < 2:
            return None
    # A value ends with its line, or at a space that the next feature's colon follows.
    goes_on = (kind[:-1] == _SPACE) & (block.colons[1:] == at[:-1] + 1)
    if kind[-1] != _LF or not (goes_on | (kind[:-1] == _LF)).all():
        return None
    whole = dots - colons - 1 - is_negative
    fraction = digit_ends - dots - has_dot
    if (whole + fraction).min() < 1:
        return None
    return _Values(colons + 1 + is_negative, dots, digit_ends, ends, is_negative, whole, fraction)


def _find_labels(block: _Block) -> tuple[list[str], Positions, Positions] | None:
    """Finds the labels, and which features are whose.

    Returns:
        (rows,) labels; (lines,) where the lines start; (rows + 1,) where the rows' features start.
    """
    special, kinds = block.special, block.kinds
    newlines = np.flatnonzero(kinds == _LF)
    # One space or newline follows each feature and each label, and one newline an empty line.
    if np.count_nonzero(kinds <= _SPACE) != block.colons.size + newlines.size:
        return None
    line_starts = np.concatenate(([_PAD], special[newlines[:-1]] + 1))
    label_ends = special[newlines]
    upto = np.searchsorted(block.colons, newlines)
    heads = np.concatenate(([0], upto[:-1]))
    is_pair = upto > heads
    behind_labels = block.colons[heads[is_pair]] - 1
    if (kinds[behind_labels] != _SPACE).any():
        return None
    label_ends[is_pair] = special[behind_labels]
    lengths = label_ends - line_starts
    if lengths.max() > LABEL_LIMIT or lengths[is_pair].min() < 1:
        return None
    is_row = lengths > 0
    spans = zip(
        (line_starts[is_row] - _PAD).tolist(), (label_ends[is_row] - _PAD).tolist(), strict=True
    )
    try:
        labels = [block.text[start:end].decode("utf-8") for start, end in spans]
    except UnicodeDecodeError:
        return None
    return labels, line_starts, np.concatenate(([0], upto[is_row]))


def _read_digits(
    chars: NDArray[np.uint8], ends: Positions, counts: Positions
) -> NDArray[np.uint64]:
    """Reads the numbers of at most eight digits that end before the positions `ends`."""
    # As bytes without a type they are fetched in two thirds of the time that numbers at odd
    # addresses take.
    words = np.ndarray(chars.size - 7, "V8", chars, strides=(1,))
    number = words[ends - 8].view("<u8")
    number &= _KEEP[counts]
    # Neighbours become pairs, pairs fours, and the two fours the number.
    number *= np.uint64(10 * 2**8 + 1)
    number >>= np.uint64(8)
    number &= np.uint64(0x00FF00FF00FF00FF)
    number *= np.uint64(100 * 2**16 + 1)
    number >>= np.uint64(16)
    number &= np.uint64(0x0000FFFF0000FFFF)
    number *= np.uint64(10000 * 2**32 + 1)
    number >>= np.uint64(32)
    return number


def _read_values(block: _Block, values: _Values) -> NDArray[np.float32]:
    """Reads all values as `np.float32(float(text))` does; too large ones become infinite.

    Digits below 2**53 and a power of ten up to 10**22 are exact in float64, so that one
    multiplication or division rounds correctly (Clinger, PLDI 1990). Where they are not, a bound
    of the error decides, unless both ends of it differ in float32: Python reads those values.
    """
    chars, whole, fraction = block.chars, values.whole, values.fraction
    places = np.minimum(fraction, 24)
    if whole.min() == whole.max() == 1:
        digits = (chars[values.dots - 1] - np.uint8(_ZERO)).astype(np.float64)
    else:
        digits = _read_digits(chars, values.dots, np.minimum(whole, 8)).astype(np.float64)
    scale = _POWERS[places]
    digits *= scale
    digits += _read_digits(chars, values.digit_ends, np.minimum(places, 8))
    for behind in range(8, int(places.max()), 8):
        count = np.clip(places - behind, 0, 8)
        digits += _POWERS[behind] * _read_digits(chars, values.digit_ends - behind, count)
    numbers = digits / scale
    is_rough = (digits >= 2.0**53) | (places > 22)
    is_hard = (whole > 8) | (fraction > 24)
    scaled = np.flatnonzero(values.ends != values.digit_ends)
    if scaled.size:
        power, length = _read_exponents(chars, values.digit_ends[scaled], values.ends[scaled])
        power -= places[scaled]
        is_rough[scaled] |= abs(power) > 22
        is_hard[scaled] |= (length > 8) | (abs(power) > 300)
        up, down = _POWERS[np.clip(power, 0, 300)], _POWERS[np.clip(-power, 0, 300)]
        with np.errstate(over="ignore"):
            numbers[scaled] = digits[scaled] * up / down
    with np.errstate(over="ignore"):
        result: NDArray[np.float32] = numbers.astype(np.float32)
        rough = np.flatnonzero(is_rough)
        least, most = (numbers[rough] * (1 + error) for error in (-_ROUGHLY, _ROUGHLY))
        is_hard[rough] |= least.astype(np.float32) != most.astype(np.float32)
        for at in np.flatnonzero(is_hard).tolist():
            result[at] = float(block.text[values.starts[at] - _PAD : values.ends[at] - _PAD])
    result *= _SIGNS[values.is_negative.view(np.int8)]
    return result


def _read_exponents(
    chars: NDArray[np.uint8], starts: Positions, ends: Positions
) -> tuple[Positions, Positions]:
    """Reads exponents from their `e`, and the number of their digits; right up to 8 digits."""
    sign = chars[starts + 1]
    length = ends - starts - 1 - ((sign == _MINUS) | (sign == _PLUS))
    power = _read_digits(chars, ends, np.minimum(length, 8)).astype(np.int64)
    return np.where(sign == _MINUS, -power, power), length
