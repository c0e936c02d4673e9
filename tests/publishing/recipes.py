"""A small model of every recipe in conf/experiment, and of every network in conf/model."""

import numpy as np
import torch

from bidnn.data.store import PairStore
from bidnn.data.taught import Taught
from bidnn.model.fitting import fit_embedding, solve_translations, weigh_translations
from bidnn.model.model import Model
from bidnn.model.scaling import fit_scaling
from bidnn.programs.config import CONF
from bidnn.programs.settings import compose_program, typed

RECIPES = [f"experiment={path.stem}" for path in sorted((CONF / "experiment").glob("*.yaml"))]
NETWORKS = [f"model={path.stem}" for path in sorted((CONF / "model").glob("*.yaml"))]
SIZES = (6, 9)


def rows():
    """Positive rows of sum 1 and others, some of which miss a modality, one both."""
    generator = np.random.default_rng(0)
    hidden = generator.normal(size=(100, 3))
    first = np.exp(hidden @ generator.normal(size=(3, SIZES[0])))
    first = (first / first.sum(axis=1, keepdims=True)).astype("f4")
    second = (hidden @ generator.normal(size=(3, SIZES[1])) + 2).astype("f4")
    present = np.ones((100, 2), dtype=bool)
    present[::5, 0], present[1::5, 1], present[10] = False, False, False
    return PairStore(first, second, present)


def model_of(*settings):
    """What a training by these settings keeps, its weights as they are drawn."""
    place = (
        ["run_dir=none", "data.path=none"] if "hyperlinking" in settings[0] else ["run_dir=none"]
    )
    config = typed(compose_program("train", [*settings, "model.hdn=8", "model.rep=6", *place]))
    torch.manual_seed(0)
    model, store = Model(*SIZES, config.model, config.scaling, config.embedding), rows()
    fit_scaling((model.first_scaler, model.second_scaler), store, np.arange(len(store)))
    solve_translations(model, store, store.complete[:40])
    weigh_translations(model, store, store.complete[40:])
    coordinates = np.random.default_rng(1).normal(size=(len(store), 6)).astype("f4")
    fit_embedding(model, store, store.complete, Taught(np.arange(len(store)), coordinates))
    model.l2_norm = config.output.l2_norm
    return model.eval()
