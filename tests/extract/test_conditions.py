"""A measurement uses the weights' own precision, whatever the training has set, and supports offloaded weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from massact.errors import MeasureError
from massact.extract import measure
from tests.models import tiny_model

TOKENS = torch.arange(24).reshape(2, 12)


def same(one, other) -> None:
    for name, array in one.arrays().items():
        assert np.array_equal(array, other.arrays()[name])
        assert array.dtype == other.arrays()[name].dtype


def test_autocast_is_suspended_and_restored():
    expected = measure(tiny_model(), TOKENS)
    model = tiny_model()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        same(measure(model, TOKENS), expected)
        assert torch.is_autocast_enabled("cpu")
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_default_dtype_does_not_leak_in(dtype):
    expected = measure(tiny_model(), TOKENS)
    model = tiny_model()
    torch.set_default_dtype(dtype)
    try:
        same(measure(model, TOKENS), expected)
        assert torch.get_default_dtype() == dtype
    finally:
        torch.set_default_dtype(torch.float32)


def test_products_are_in_full_precision_and_the_setting_is_put_back():
    expected = measure(tiny_model(), TOKENS)
    torch.set_float32_matmul_precision("medium")
    try:
        same(measure(tiny_model(), TOKENS), expected)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_weights_of_double_precision_are_measured_in_it():
    measurement = measure(tiny_model().double(), TOKENS)
    assert measurement.top.dtype == np.float32
    np.testing.assert_allclose(measurement.top, measure(tiny_model(), TOKENS).top, rtol=1e-5)


def test_everything_is_put_back_after_a_failure():
    model = tiny_model().train()
    with torch.no_grad():
        model.gpt_neox.embed_in.weight[:] = float("nan")
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(MeasureError):
        measure(model, TOKENS)
    assert all(part.training for part in model.modules())
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_a_model_that_accelerate_has_offloaded_is_measured(where, tmp_path):
    from accelerate import cpu_offload, disk_offload

    expected = measure(tiny_model(), TOKENS)
    model = tiny_model()
    if where == "memory":
        cpu_offload(model, execution_device=torch.device("cpu"))
    else:
        disk_offload(model, str(tmp_path), execution_device=torch.device("cpu"))
    assert next(model.parameters()).device.type == "meta"
    same(measure(model, TOKENS), expected)


def test_a_model_of_shapes_alone_is_refused():
    with pytest.raises(MeasureError, match="meta device"):
        measure(tiny_model().to("meta"), TOKENS)
