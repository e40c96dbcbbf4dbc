"""Every class of the gallery is measured as plain hooks on its blocks measure it, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from massact.architecture import numbers_in
from massact.extract import measure
from tests.gallery import KINDS

TOKENS = torch.from_numpy(np.random.default_rng(0).integers(0, 199, (3, 16)))


def plain_hooks(model, path, tokens):
    """All block outputs of one forward pass (layer, sequence, position * width), with no code of massact."""
    outputs = []
    handles = [
        block.register_forward_hook(lambda m, a, out: outputs.append(out[0] if isinstance(out, tuple) else out))
        for block in model.get_submodule(path)
    ]
    with torch.no_grad():
        model(tokens, use_cache=False)
    for handle in handles:
        handle.remove()
    return torch.stack([output.abs().flatten(1) for output in outputs])


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_a_class_is_measured_as_plain_hooks_measure_it(kind):
    model = kind.model()
    magnitudes = plain_hooks(model, kind.blocks, TOKENS).transpose(0, 1)
    measured = measure(model, TOKENS)
    largest = magnitudes.sort(dim=-1, descending=True, stable=True)
    width = model.config.get_text_config().hidden_size
    assert np.array_equal(measured.top, largest.values[..., :3].numpy())
    assert np.array_equal(measured.token, (largest.indices[..., :3] // width).numpy())
    assert np.array_equal(measured.dimension, (largest.indices[..., :3] % width).numpy())
    assert np.array_equal(measured.median, magnitudes.median(dim=-1).values.numpy())


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_a_configuration_states_the_architecture_and_invents_nothing(kind):
    from transformers import AutoConfig

    config = AutoConfig.for_model(kind.name, **kind.config)
    numbers = numbers_in(config.to_dict())
    assert numbers["d_model"] == 32
    assert numbers["n_layers"] == config.num_hidden_layers
    assert (numbers.get("n_heads"), numbers.get("d_mlp")) == (kind.n_heads, kind.d_mlp)
