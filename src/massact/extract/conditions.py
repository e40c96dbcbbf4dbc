"""The conditions under which a model is measured, whatever its training has set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn


@contextmanager
def measuring(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Evaluation mode, no gradients, the weights' own precision, nothing compiled. All is restored afterwards.

    Autocast is off, float32 products use float32 (no TF32), new tensors are float32, and modules wrapped by
    torch.compile run uncompiled. The same weights then give the same numbers in training as from a checkpoint.
    """
    parts = list(module.modules())
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        for kind in {device.type, "cpu"}:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_dtype() != torch.float32:
            stack.callback(torch.set_default_dtype, torch.get_default_dtype())
            torch.set_default_dtype(torch.float32)
        if torch.get_float32_matmul_precision() != "highest":
            stack.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
            torch.set_float32_matmul_precision("highest")
        if any("_orig_mod" in part._modules or part._compiled_call_impl is not None for part in parts):
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        for part in parts:  # part by part, because most of a bridge's hundreds of parts are in evaluation mode already
            if part.training:
                part.training = False
                stack.callback(setattr, part, "training", True)
        yield


def running_device(module: nn.Module) -> torch.device | None:
    """The device of a model's input: that of its first weights, or the one to which Accelerate moves offloaded weights.

    None when the weights have shapes but no values (the meta device).
    """
    device = next(module.parameters()).device
    if device.type != "meta":
        return device
    for part in module.modules():
        hook = getattr(part, "_hf_hook", None)
        for one in getattr(hook, "hooks", (hook,)):
            target = getattr(one, "execution_device", None)
            if target is not None and getattr(one, "offload", False):
                return torch.device(target)
    return None
