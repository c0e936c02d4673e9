"""Embeddings and translations of rows with anything missing, by a trained model."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bidnn.data.ahead import made_ahead
from bidnn.data.store import PairStore
from bidnn.data.transfers import Lanes, fetched, pinned
from bidnn.errors import UserError
from bidnn.model.model import Model

GPU_READERS = 8
"""Threads that read blocks for a GPU, which takes rows faster than one can copy them; at most."""
GPU_BLOCKS = 2
"""How many times as large they are, so that each product keeps all of a GPU busy."""


class OutputKind(Enum):
    """What is written for each row: its embedding, or both modalities, translated where missing."""

    embedding = "embedding"
    crossmodal = "crossmodal"


class Block(NamedTuple):
    """Consecutive rows of a result, in two halves: the two centres, or the two modalities."""

    rows: slice
    left: NDArray[np.float32]
    right: NDArray[np.float32]


def infer(
    model: Model,
    store: PairStore,
    kind: OutputKind = OutputKind.embedding,
    *,
    l2_norm: bool = False,
    share: tuple[int, int] = (0, 1),
    rows: NDArray[np.int64] | None = None,
) -> Iterator[Block]:
    """Runs a model over a store, block by block, so that no result is whole in memory.

    Args:
        model: trained; put into evaluation mode meanwhile.
        store: the rows.
        kind: embeddings, or completed modalities.
        l2_norm: each half to unit length, then the row to unit length.
        share: which of how many equal parts of the rows.
        rows: numbers of those to run it over, of which blocks then count; None: all.

    Yields:
        The blocks in the order of the rows.

    Raises:
        ValueError: if the store has other sizes than the model.
    """
    check_sizes(model, store)
    training = model.training
    model.eval()
    try:
        on_gpu, lanes = model.device.type == "cuda", Lanes(model.device)
        at_once = GPU_BLOCKS if on_gpu else 1
        if rows is None:
            cut = store.blocks(share, model.widest, at_once)
        else:
            cut = store.cut(len(rows), model.widest, at_once)
        empty = pinned if on_gpu else None

        def read(block: slice) -> tuple[slice, Any, Any, Any]:
            numbers = block if rows is None else rows[block]
            return block, *store.take(numbers, empty), store.present[numbers]

        begun: deque[Callable[[], Block]] = deque()
        for block, left, right, there in made_ahead(
            read,
            cut,
            max(1, min(GPU_READERS, (os.cpu_count() or 1) // 2)) if on_gpu else 1,
        ):
            first, second = map(lanes.send, (left, right))
            present = torch.from_numpy(there)
            with torch.no_grad():
                if kind is OutputKind.embedding:
                    vectors = model.embed(first, second, present)
                    halves = torch.split(vectors, list(model.halves), dim=1)
                else:
                    halves = model.complete(first, second, present)
                one, other = (half.float() for half in halves)
                one, other = unit_rows(one, other) if l2_norm else (one, other)
            begun.append(_on_the_way(block, (one, other), lanes))
            if len(begun) > 2 * on_gpu:
                yield begun.popleft()()
        while begun:
            yield begun.popleft()()
    finally:
        model.train(training)


def _on_the_way(rows: slice, halves: tuple[Tensor, Tensor], lanes: Lanes) -> Callable[[], Block]:
    """A block whose values may still be on their way from a GPU; called, it waits for them."""
    with lanes.outwards(*halves):
        left, right = map(fetched, halves)
    return lambda: Block(rows, left().numpy(), right().numpy())


def embed(
    model: Model,
    store: PairStore,
    *,
    l2_norm: bool = False,
) -> NDArray[np.float32]:
    """All embeddings of a store, one row each, in memory; the arguments are those of `infer`."""
    half = model.halves[0]
    whole = np.empty((len(store), sum(model.halves)), dtype=np.float32)
    for block in infer(model, store, OutputKind.embedding, l2_norm=l2_norm):
        whole[block.rows, :half], whole[block.rows, half:] = block.left, block.right
    return whole


def check_sizes(model: Model, store: PairStore) -> None:
    """Refuses rows of other sizes than the model's.

    Raises:
        ValueError: naming both.
    """
    if (store.mod1size, store.mod2size) != (model.mod1size, model.mod2size):
        raise UserError(
            f"{store.name}: features of {store.mod1size} + {store.mod2size} columns, but the model "
            f"was trained on {model.mod1size} + {model.mod2size}"
        )


def unit_rows(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Each half of a row to unit length, then the row; (rows, any) both."""
    # Unlike the original, which divides each half's whole matrix by one Frobenius norm.
    halves = [functional.normalize(half, dim=1) for half in (left, right)]
    length = torch.cat(halves, dim=1).norm(dim=1, keepdim=True).clamp_min(1e-12)
    return halves[0] / length, halves[1] / length
