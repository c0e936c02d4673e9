"""Scores of rankings once more, slowly: from their definitions, and by going through all orders."""

from collections.abc import Callable
from itertools import pairwise, permutations

import numpy as np


def average_precision(ranked, total):
    hits = [place for place, relevant in enumerate(ranked, start=1) if relevant]
    return sum(count / place for count, place in enumerate(hits, start=1)) / total


def precision(ranked, total, k):
    return sum(ranked[:k]) / k


def recall(ranked, total, k):
    return sum(ranked[:k]) / total


def ndcg(ranked, total, k):
    gain = sum(1 / np.log2(1 + place) for place, hit in enumerate(ranked[:k], start=1) if hit)
    return gain / sum(1 / np.log2(1 + place) for place in range(1, min(k, total) + 1))


def first_rank(ranked, total):
    return list(ranked).index(True) + 1 if any(ranked) else np.inf


def over_orders(scores, relevant, measure: Callable[..., float], total, *arguments):
    """The mean of a measure over all orders of the documents in which no score rises."""
    values = [
        measure([relevant[i] for i in order], total, *arguments)
        for order in permutations(range(len(scores)))
        if all(scores[i] >= scores[j] for i, j in pairwise(order))
    ]
    return np.mean(values)
