"""Wrappers of training and adapter libraries are removed, and adapters are measured with the model."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from massact.checkpoints.memory import parameters_sha256
from massact.errors import MeasureError
from massact.extract import measure
from massact.extract.wrappers import inside
from massact.train.unwrap import unwrapped
from tests.models import tiny_model

TOKENS = torch.arange(24).reshape(2, 12)


def same(one, other) -> None:
    assert all(np.array_equal(array, other.arrays()[name]) for name, array in one.arrays().items())


def head_compiled(model):
    return torch.compile(model)


def base_compiled(model):
    model.gpt_neox = torch.compile(model.gpt_neox)
    return model


def blocks_compiled(model):
    for layer, block in enumerate(model.gpt_neox.layers):
        model.gpt_neox.layers[layer] = torch.compile(block)
    return model


def compiled_in_place(model):
    model.gpt_neox.compile()
    model.gpt_neox.layers[0].compile()
    return model


def checkpointing(model):
    model.gradient_checkpointing_enable()
    return model.train()


def accelerated(model):
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, GradientState

    AcceleratorState._reset_state(reset_partial_state=True)  # a Trainer of this process may have set another one
    GradientState._reset_state()
    return Accelerator(cpu=True, mixed_precision="bf16").prepare(model)


def accelerated_base(model):
    return accelerated(model.gpt_neox)


def fabric(model):
    from lightning.fabric import Fabric

    return Fabric(accelerator="cpu", devices=1, precision="bf16-mixed").setup_module(model)


def averaged(model):
    return torch.optim.swa_utils.AveragedModel(model)


WRAPPERS = (head_compiled, base_compiled, blocks_compiled, compiled_in_place, checkpointing, nn.DataParallel,
            accelerated, accelerated_base, fabric, averaged)  # fmt: skip


@pytest.mark.parametrize("wrapped", WRAPPERS, ids=lambda w: w.__name__)
def test_a_wrapped_model_is_measured_as_the_model_itself_and_left_as_it_was(wrapped):
    expected = measure(tiny_model(), TOKENS)
    model = wrapped(tiny_model())
    training = [part.training for part in model.modules()]
    hooks = [len(part._forward_hooks) for part in model.modules()]
    same(measure(model, TOKENS), expected)
    assert [part.training for part in model.modules()] == training
    assert [len(part._forward_hooks) for part in model.modules()] == hooks
    assert type(inside(model)).__name__.startswith("GPTNeoX")


def adapted(**options):
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(tiny_model(), peft.LoraConfig(r=2, lora_alpha=8, lora_dropout=0.5, **options))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return model


def test_a_model_with_adapters_is_measured_with_them():
    model = adapted()
    plain = measure(tiny_model(), TOKENS)
    measurement = measure(model, TOKENS)
    assert not np.allclose(measurement.top[:, 1], plain.top[:, 1])
    merged = copy.deepcopy(model).merge_and_unload()
    np.testing.assert_allclose(measurement.top, measure(merged, TOKENS).top, rtol=1e-4)
    for holder in (torch.compile(model), nn.DataParallel(model), model.base_model):
        same(measure(holder, TOKENS), measurement)
    kept = copy.deepcopy(model)
    kept.merge_adapter()
    np.testing.assert_allclose(measure(kept, TOKENS).top, measurement.top, rtol=1e-4)
    with model.disable_adapter():
        same(measure(model, TOKENS), plain)


def test_adapters_are_among_the_parameters_that_say_which_weights_these_are():
    model = adapted()
    inner = unwrapped(model)
    before = parameters_sha256(inner)
    assert any("lora_A" in name for name, _ in inner.named_parameters())
    with torch.no_grad():
        next(p for name, p in model.named_parameters() if "lora_B" in name).add_(1.0)
    assert parameters_sha256(inner) != before


def test_learnt_prompts_stand_outside_the_model_and_are_refused():
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(tiny_model(), peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))
    with pytest.raises(MeasureError, match="learnt tokens"):
        measure(model, TOKENS)
