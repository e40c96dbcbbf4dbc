"""`measure` against a plain reference on true shapes: all block outputs of Hugging Face's own model, |h| sorted."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from massact import Architecture
from massact.checkpoints.bridge import wrap_model
from massact.extract import measure
from massact.train import build_model

SHAPES = {"14m": (6, 128, 4, 512), "70m": (6, 512, 8, 256), "160m": (12, 768, 12, 128)}


def reference(decoder, blocks, tokens):
    """Top-3 by a stable sort of all magnitudes, their places, and torch.median, of every block output."""
    kept = []
    handles = [
        block.register_forward_hook(lambda m, a, out: kept.append(out[0] if isinstance(out, tuple) else out))
        for block in blocks
    ]
    rows = []
    with torch.no_grad():
        for row in tokens:
            kept.clear()
            decoder(row[None], use_cache=False)
            flats = [hidden[0].abs().flatten() for hidden in kept]
            sorts = [flat.sort(descending=True, stable=True) for flat in flats]
            rows.append(
                (
                    [s.values[:3].tolist() for s in sorts],
                    [s.indices[:3].tolist() for s in sorts],
                    [flat.median().item() for flat in flats],
                )
            )
    for handle in handles:
        handle.remove()
    width = kept[0].shape[-1]
    top, place, median = (np.array(column) for column in zip(*rows, strict=True))
    return top.astype(np.float32), place // width, place % width, median.astype(np.float32)


def assert_equal(measured, expected):
    for name, array in zip(("top", "token", "dimension", "median"), expected, strict=True):
        assert np.array_equal(getattr(measured, name), array), name


def both_ways(model, decoder, blocks, tokens):
    """The plain model and the bridge made of a copy of it, both equal to the reference to the last bit."""
    expected = reference(decoder, blocks, tokens)
    assert_equal(measure(model, tokens), expected)
    bridge = wrap_model(copy.deepcopy(model), "model", dtype="float32", device="cpu")
    assert_equal(measure(bridge, tokens), expected)


def random_tokens(vocabulary: int, length: int, sequences: int = 2) -> torch.Tensor:
    return torch.randint(0, vocabulary, (sequences, length), generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("size", SHAPES)
def test_pythia_of_true_shapes(size):
    layers, width, heads, length = SHAPES[size]
    shape = Architecture(n_layers=layers, d_model=width, n_heads=heads, d_mlp=4 * width)
    model = build_model(shape, 0).eval()
    both_ways(model, model.gpt_neox, model.gpt_neox.layers, random_tokens(50304, length))


def test_a_llama_type_model():
    torch.manual_seed(0)
    config = LlamaConfig(
        num_hidden_layers=3,
        hidden_size=192,
        num_attention_heads=6,
        num_key_value_heads=2,
        intermediate_size=512,
        vocab_size=1000,
    )
    model = LlamaForCausalLM(config).eval()
    both_ways(model, model.model, model.model.layers, random_tokens(1000, 200))


def test_gpt2_of_true_shapes():
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(n_layer=4, vocab_size=2000)).eval()
    both_ways(model, model.transformer, model.transformer.h, random_tokens(2000, 200))


@pytest.mark.parametrize("planted", [(3, 17, 5), (0, 0, 0), (5, 63, 127)])
def test_a_planted_spike_is_found_where_it_is(planted):
    """A block whose output is overwritten at one place: layer, position, dimension."""
    layer, position, dimension = planted
    model = build_model(Architecture(n_layers=6, d_model=128, n_heads=4, d_mlp=512), 0).eval()

    def plant(module, args, output):
        hidden = output[0] if isinstance(output, tuple) else output
        hidden[:, position, dimension] = -12345.0
        return output

    handle = model.gpt_neox.layers[layer].register_forward_hook(plant)
    measured = measure(model, random_tokens(50304, 64))
    handle.remove()
    assert (measured.top[:, layer, 0] == 12345.0).all()
    assert (measured.token[:, layer, 0] == position).all()
    assert (measured.dimension[:, layer, 0] == dimension).all()
