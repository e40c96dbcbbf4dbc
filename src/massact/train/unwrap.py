"""The model inside what trainers wrap around it, whole in this process."""

from __future__ import annotations

from torch import nn

from massact.errors import MeasureError
from massact.extract.wrappers import inside

__all__ = ["inside", "unwrapped"]


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside all wrappers, adapters included (`massact.extract.wrappers.inside`); nothing is changed.

    Raises
    ------
    MeasureError
        When this process holds only a part of each weight (FSDP, DeepSpeed ZeRO-3), or learnt prompt tokens stand
        before the model.
    """
    inner = inside(model)
    if any(_sharded(part) for part in inner.modules()):
        raise MeasureError(
            "the weights are spread over processes (FSDP or ZeRO-3), and each holds a part only",
            "measure the checkpoints of this training with stage=extract",
        )
    return inner


def _sharded(part: nn.Module) -> bool:
    """Told by names, so that neither DeepSpeed nor torch.distributed is imported."""
    if type(part).__name__ == "FullyShardedDataParallel":
        return True
    return any(hasattr(p, "ds_id") or type(p).__name__ == "DTensor" for p in part.parameters(recurse=False))
