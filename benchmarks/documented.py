"""A set to measure on: what is said of Python code, and the code, of the packages installed here.

Rows are 5000 functions and classes, drawn from the twenty largest subpackages, which are their
kinds, of very unequal size. The first modality is the docstring and the second the code, each as
tf-idf of its 2000 most frequent words, or that in the directions of a singular value decomposition
(latent semantic analysis). What is drawn depends on the versions installed; docs/results.md has
figures of those in constraints.txt.

python benchmarks/documented.py tfidf.npz
python benchmarks/documented.py lsa.npz --lsa
python scripts/compare.py data=npz data.path=lsa.npz 'rates=[0.5,0.0,0.9]' 'seeds=[0]'
"""

import argparse
import ast
import re
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

PACKAGES = (
    *("scipy", "sklearn", "torch", "numpy", "pandas", "matplotlib", "sympy", "optuna", "networkx"),
    *("pyarrow", "hydra", "lightning", "torchmetrics", "fsspec", "jinja2", "mypy", "setuptools"),
)
ROWS, KINDS, WORDS = 5000, 20, 2000
LETTERS = 80
"""That a docstring and its code have more than."""


def documented(package: Path) -> Iterator[tuple[str, str, str]]:
    """Subpackage, docstring and code of the functions and classes of a package."""
    for file in package.rglob("*.py"):
        parts = file.relative_to(package.parent).with_suffix("").parts
        if "test" in "/".join(parts):
            continue
        kind = ".".join(parts[:2]) if len(parts) > 2 else parts[0]
        try:
            module = ast.parse(file.read_text())
        except (SyntaxError, UnicodeDecodeError):  # templates, samples of other versions
            continue
        for node in ast.walk(module):
            if not isinstance(node, ast.FunctionDef | ast.ClassDef):
                continue
            said = ast.get_docstring(node) or ""
            if len(said) > LETTERS:
                code = "\n".join(ast.unparse(part) for part in node.body[1:])
                if len(code) > LETTERS:
                    yield kind, said, code


def words(text: str) -> list[str]:
    """Its words in small letters; names are taken apart."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]{2,}", text)]


def main() -> None:
    """Writes the set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, help="of the npz file with first, second and label")
    parser.add_argument("--lsa", action="store_true", help="100 and 200 directions, not 2000 words")
    given = parser.parse_args()
    home = Path(sysconfig.get_path("purelib"))
    found = [row for package in PACKAGES for row in documented(home / package)]
    kinds = [kind for kind, _ in Counter(kind for kind, _, _ in found).most_common(KINDS)]
    found = sorted(row for row in found if row[0] in kinds)
    drawn = [found[row] for row in np.random.default_rng(0).permutation(len(found))[:ROWS]]
    modalities = []
    for texts, directions in (([row[1] for row in drawn], 100), ([row[2] for row in drawn], 200)):
        counts = TfidfVectorizer(analyzer=words, max_features=WORDS, sublinear_tf=True)
        values = counts.fit_transform(texts)
        if given.lsa:
            values = TruncatedSVD(directions, random_state=0).fit_transform(values)
        else:
            values = values.toarray()
        modalities.append(np.asarray(values, dtype=np.float32))
    labels = np.unique([row[0] for row in drawn], return_inverse=True)[1]
    np.savez(given.path, first=modalities[0], second=modalities[1], label=labels)
    for kind, count in Counter(row[0] for row in drawn).most_common():
        print(f"{count:5} {kind}")


if __name__ == "__main__":
    main()
