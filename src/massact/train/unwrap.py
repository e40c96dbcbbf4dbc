"""Find the model inside the wrappers of a trainer, and check that this process holds all of it."""

from __future__ import annotations

from torch import nn

from massact.errors import MeasureError
from massact.extract.wrappers import inside

__all__ = ["inside", "unwrapped"]


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside all wrappers, with its adapters (`massact.extract.wrappers.inside`). Nothing is changed.

    Raises
    ------
    MeasureError
        When this process holds only a shard of each weight (FSDP, DeepSpeed ZeRO-3), or the model is used with a
        learnt prompt.
    """
    inner = inside(model)
    if any(_sharded(part) for part in inner.modules()):
        raise MeasureError(
            "the weights are sharded over processes (FSDP or ZeRO-3), and each holds only a part",
            "measure the checkpoints of this training with stage=extract",
        )
    return inner


def _sharded(part: nn.Module) -> bool:
    """Judged by class names, so that neither DeepSpeed nor torch.distributed is imported."""
    if type(part).__name__ == "FullyShardedDataParallel":
        return True
    return any(hasattr(p, "ds_id") or type(p).__name__ == "DTensor" for p in part.parameters(recurse=False))
