"""The model inside the wrappers of training and adapter libraries."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from massact.errors import MeasureError

# Recognised by name, so that none of these libraries is imported. All have the model as `module`.
_HOLDERS = ("DeepSpeedEngine", "_FabricModule", "AveragedModel")


def inside(model: Any) -> Any:
    """The model inside DataParallel, DistributedDataParallel, DeepSpeed's engine, Lightning Fabric, averaged weights,
    torch.compile and PEFT, in any order. Nothing is changed.

    The model inside PEFT has the adapters in its layers, merged or not, and its parameters include them.

    Raises
    ------
    MeasureError
        For methods of PEFT that put learnt tokens before the input (prompt and prefix tuning), outside the model.
    """
    while True:
        if isinstance(model, DataParallel | DistributedDataParallel) or type(model).__name__ in _HOLDERS:
            model = model.module
        elif isinstance(model, nn.Module) and "_orig_mod" in model._modules:  # torch.compile
            model = model._orig_mod
        elif any(kind.__module__.partition(".")[0] == "peft" for kind in type(model).__mro__):
            if any(config.is_prompt_learning for config in getattr(model, "peft_config", {}).values()):
                raise MeasureError(
                    f"{type(model).__name__} prepends learnt tokens to the input, outside the model's blocks",
                    "measure its base model, or train an adapter inside the blocks, such as LoRA",
                )
            model = model._modules["base_model" if "base_model" in model._modules else "model"]
        else:
            return model
