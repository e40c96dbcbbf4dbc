"""The model inside what trainers wrap around it."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from massact.errors import MeasureError


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside DataParallel, DistributedDataParallel and torch.compile, in any order; nothing is changed.

    Raises
    ------
    MeasureError
        When this process holds only a part of each weight (FSDP, DeepSpeed ZeRO-3).
    """
    inner = inside(model)
    if any(_sharded(part) for part in inner.modules()):
        raise MeasureError(
            "the weights are spread over processes (FSDP or ZeRO-3), and each holds a part only",
            "measure the checkpoints of this training with stage=extract",
        )
    return inner


def inside(model: nn.Module) -> nn.Module:
    """As `unwrapped`, without a look at the weights."""
    inner: Any = model
    while True:
        if isinstance(inner, DataParallel | DistributedDataParallel):
            inner = inner.module
        elif hasattr(inner, "_orig_mod"):  # torch.compile
            inner = inner._orig_mod
        else:
            return inner


def _sharded(part: nn.Module) -> bool:
    """Told by names, so that neither DeepSpeed nor torch.distributed is imported."""
    if type(part).__name__ == "FullyShardedDataParallel":
        return True
    return any(hasattr(p, "ds_id") or type(p).__name__ == "DTensor" for p in part.parameters(recurse=False))
