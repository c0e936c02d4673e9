"""Made rows in which nothing is wrong, and the plan of a training that suits them."""

import numpy as np

from bidnn.architecture import Activation
from bidnn.data.formats.arrays import store_arrays
from bidnn.doctor import Plan
from bidnn.losses import LossConfig
from bidnn.model.scaling import ScalingConfig


def plan(**more):
    settings = {"output": Activation.linear, "scaling": ScalingConfig(), "loss": LossConfig()}
    return Plan(**{**settings, **more})


def clean(seed, rows=300, sizes=(12, 20)):
    """Two modalities of rows that have five hidden figures in common, and noise of their own."""
    generator = np.random.default_rng(seed)
    hidden = generator.normal(size=(rows, 5))
    return tuple(
        (
            hidden @ generator.normal(size=(5, size)) / 3 + generator.normal(size=(rows, size)) / 3
        ).astype("f4")
        for size in sizes
    )


def store(first, second, **more):
    return store_arrays(first, second, name="made", ignore_zeroes=True, **more)
