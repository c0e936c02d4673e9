"""The original's defaults on digits, complete data: what it reached, and what this program reaches.

Upper and lower half of scikit-learn's digits, hdn 256, rep 128, 200 epochs, three seeds. Every row
is a query against all others by cosine; rows with its label are relevant. The translation error is
the mean squared error over both halves of all rows.

    python benchmarks/digits.py
"""

import numpy as np

from bidnn import BiDNN
from bidnn.data.formats.digits import load_halves
from bidnn.evaluation.retrieval import by_label, retrieve

ORIGINAL = {"mAP": "0.581–0.587", "P@10": "0.906–0.910", "error": "0.0443–0.0446"}


def main() -> None:
    """Prints one row for each seed, beside the original's range."""
    store = load_halves()
    assert store.labels is not None
    relevance = by_label(store.labels, store.labels)
    print("            mAP          P@10         error")
    print(f"original    {'  '.join(ORIGINAL.values())}")
    for seed in range(3):
        net = BiDNN(hdn=256, rep=128, epochs=200, seed=seed, verbosity=0)
        vectors = net.fit_transform(store.first, store.second)
        found = retrieve(vectors, vectors, relevance, exclude_self=True).metrics()
        errors = [
            net.translate(first=store.first) - store.second,
            net.translate(second=store.second) - store.first,
        ]
        error = (np.concatenate(errors, axis=1) ** 2).mean()
        figures = [found["map"], found["precision@10"], float(error)]
        print(f"seed {seed}      " + "       ".join(f"{figure:.4f}" for figure in figures))


if __name__ == "__main__":
    main()
