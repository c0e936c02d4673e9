"""Where in a training a data module is, without a training."""

from types import SimpleNamespace

import torch


def place(epoch=0, taken=0, rank=0, processes=1):
    """What a data module looks at of its trainer."""
    progress = SimpleNamespace(current=SimpleNamespace(ready=taken))
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=progress))
    return SimpleNamespace(
        current_epoch=epoch,
        overfit_batches=0,
        global_rank=rank,
        world_size=processes,
        fit_loop=loop,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
    )
