"""A set to measure on: letters and digits in the fonts that come with matplotlib.

Rows are the 62 letters and digits in 22 fonts; which of them it is, is the kind, so that kinds are
many and small. The first modality is how strong edges of eight directions are in each of 8 × 8
cells of a picture (histograms of oriented gradients), the second profiles: how much ink is in each
row and column, how often it begins and ends there, and where it begins from left and right.

python benchmarks/glyphs.py glyphs.npz
python scripts/compare.py data=npz data.path=glyphs.npz 'rates=[0.5,0.0,0.9]' 'seeds=[0]'
"""

import argparse
import string
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.ft2font import FT2Font
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

GLYPHS = string.ascii_letters + string.digits
SIZE, CELLS, DIRECTIONS = 64, 8, 8
MIDDLE = slice(8, 56)
"""Rows and columns of a picture that profiles are of; there is hardly any ink outside."""

Values = NDArray[np.float64]


def fonts() -> list[Path]:
    """Those that have all of the glyphs, and not as symbols or for one size only."""
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    others = ("Siz", "NonUni", "cmex", "cmsy", "LastResort", "Display")
    named = [
        path for path in sorted(folder.glob("*.ttf")) if not any(o in path.name for o in others)
    ]
    return [path for path in named if set(map(ord, GLYPHS)) <= FT2Font(path).get_charmap().keys()]


def picture(font: ImageFont.FreeTypeFont, glyph: str) -> Values:
    """(64, 64) in [0, 1], on a base line, in the middle."""
    image = Image.new("L", (SIZE, SIZE), 0)
    ImageDraw.Draw(image).text((SIZE // 2, 44), glyph, font=font, fill=255, anchor="ms")
    return np.asarray(image, dtype=np.float64) / 255


def edges(ink: Values) -> Values:
    """(512,): roots of the strength of edges, by cell and direction."""
    down, right = np.gradient(ink)
    turn = np.arctan2(down, right) % np.pi / np.pi * DIRECTIONS
    found = []
    for direction in range(DIRECTIONS):
        apart = np.abs(turn - direction)
        share = np.maximum(0, 1 - np.minimum(apart, DIRECTIONS - apart)) * np.hypot(right, down)
        size = SIZE // CELLS
        found.append(share.reshape(CELLS, size, CELLS, size).sum(axis=(1, 3)))
    return np.sqrt(np.stack(found, axis=2)).ravel()


def profiles(ink: Values) -> Values:
    """(288,): six of 48 rows or columns each."""
    black = ink > 0.5
    changes = [np.abs(np.diff(black.astype(float), axis=axis)).sum(axis=axis) for axis in (0, 1)]
    empty = ~black.any(axis=1)
    left = np.where(empty, SIZE / 2, black.argmax(axis=1)) / 8
    right = np.where(empty, SIZE / 2, SIZE - 1 - black[:, ::-1].argmax(axis=1)) / 8
    rows = [ink.sum(axis=0) / 8, ink.sum(axis=1) / 8, *changes, left, right]
    return np.concatenate([row[MIDDLE] for row in rows])


def main() -> None:
    """Writes the set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, help="of the npz file with first, second and label")
    given = parser.parse_args()
    found = fonts()
    pictures = [
        picture(font, glyph)
        for font in (ImageFont.truetype(path, 40) for path in found)
        for glyph in GLYPHS
    ]
    first, second = (np.stack([view(ink) for ink in pictures]) for view in (edges, profiles))
    label = np.tile(np.arange(len(GLYPHS)), len(found))
    np.savez(given.path, first=first.astype("f4"), second=second.astype("f4"), label=label)
    print(f"{len(GLYPHS)} letters and digits in {len(found)} fonts:", *(p.stem for p in found))


if __name__ == "__main__":
    main()
