"""Blocks are found in every class, and models without a single residual stream are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from benchmarks.faults_classes import CLASSES, made, tokens
from torch import nn
from transformers import BartConfig, BartForConditionalGeneration, T5Config, T5ForConditionalGeneration

from massact.errors import MeasureError
from massact.extract import measure
from massact.extract.blocks import same
from massact.extract.hooks import block_outputs
from tests.models import tiny_model

BY_LABEL = {small.label: small for small in CLASSES}


def same_measurements(one, other) -> None:
    assert all(np.array_equal(array, other.arrays()[name]) for name, array in one.arrays().items())


def test_a_hidden_state_with_positions_first_is_turned_also_where_the_shape_does_not_tell():
    model = made(BY_LABEL["XLNetLMHeadModel"], 0)
    square = tokens()[:, :3]
    together = measure(model, square)
    for row in range(3):
        alone = measure(model, square[row : row + 1])
        assert np.array_equal(together.token[row], alone.token[0])
        assert np.array_equal(together.dimension[row], alone.dimension[0])
        np.testing.assert_allclose(together.top[row], alone.top[0], rtol=1e-5)
        np.testing.assert_allclose(together.median[row], alone.median[0], rtol=1e-5)


def test_a_list_of_the_same_length_is_not_mistaken_for_the_blocks():
    """XLM keeps attentions, feed-forward parts and two kinds of norms apart: only the last norms give the stream."""
    model = made(BY_LABEL["XLMWithLMHeadModel"], 0)
    with torch.no_grad():
        hidden_states = model.transformer(tokens(), output_hidden_states=True).hidden_states
    outputs = block_outputs(model, tokens())
    assert all(same(outputs[layer], hidden_states[layer + 1]) for layer in range(2))


class Looped(nn.Module):
    """A block that runs its block twice over."""

    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, *args, **named):
        return self.block(self.block(*args, **named), *args[1:], **named)


class Streams(Looped):
    """A block that keeps two streams."""

    def forward(self, hidden, *args, **named):
        out = self.block(hidden[0] if hidden.ndim == 4 else hidden, *args, **named)
        return torch.stack([out[0] if isinstance(out, tuple) else out] * 2)


def test_blocks_that_run_twice_or_keep_several_streams_are_refused():
    model = tiny_model()
    first = model.gpt_neox.layers[0]

    class Shared(type(model.gpt_neox)):
        def forward(self, *args, **named):
            super().forward(*args, **named)
            return super().forward(*args, **named)

    model.gpt_neox.__class__ = Shared
    with pytest.raises(MeasureError, match="layer 0 of Shared runs 2 times in one pass"):
        measure(model, torch.tensor([[1, 2]]))
    other = tiny_model()

    class Several(type(other.gpt_neox)):
        pass

    other.gpt_neox.__class__ = Several
    other.gpt_neox.layers[1] = Streams(first)
    with pytest.raises(MeasureError, match=r"layer 1 of Several gives a tensor of shape \(2, 1, 2, 16\)"):
        measure(other, torch.tensor([[1, 2]]))


def test_a_known_class_whose_blocks_run_twice_in_this_model_is_refused_too():
    model = tiny_model()
    measure(model, torch.tensor([[1, 2]]))
    model.gpt_neox.layers[1] = model.gpt_neox.layers[0]
    with pytest.raises(MeasureError, match="more than once"):
        measure(model, torch.tensor([[1, 2]]))


def test_blocks_of_a_class_without_hidden_states_are_found_by_their_outputs():
    model = tiny_model()
    expected = measure(model, tokens())

    class Silent(type(model.gpt_neox)):
        def forward(self, tokens, **named):
            hidden = self.embed_in(tokens)
            positions = self.rotary_emb(hidden, torch.arange(tokens.shape[1])[None])
            for block in self.layers:
                hidden = block(hidden, position_embeddings=positions, attention_mask=None)
            return self.final_layer_norm(hidden)

    model.gpt_neox.__class__ = Silent
    same_measurements(measure(model, tokens()), expected)

    class Between(Silent):
        def forward(self, tokens, **named):
            hidden = self.embed_in(tokens)
            positions = self.rotary_emb(hidden, torch.arange(tokens.shape[1])[None])
            for block in self.layers:
                hidden = hidden + block(hidden, position_embeddings=positions, attention_mask=None)
            return self.final_layer_norm(hidden)

    model.gpt_neox.__class__ = Between
    with pytest.raises(MeasureError, match="output of layer 0 of Between is not the residual stream"):
        measure(model, tokens())


@pytest.mark.parametrize(
    "model",
    [
        T5ForConditionalGeneration(T5Config(d_model=16, num_layers=3, num_heads=4, d_ff=32, d_kv=4, vocab_size=64)),
        BartForConditionalGeneration(
            BartConfig(d_model=16, encoder_layers=3, decoder_layers=3, encoder_attention_heads=4,
                       decoder_attention_heads=4, encoder_ffn_dim=32, decoder_ffn_dim=32, vocab_size=64)
        ),
    ],
    ids=["T5", "Bart"],
)  # fmt: skip
def test_an_encoder_with_a_decoder_is_refused(model):
    with pytest.raises(MeasureError, match="encoder with a decoder"):
        measure(model, tokens())


@pytest.mark.parametrize("given", [nn.Linear(2, 2), object(), None], ids=["a layer", "an object", "nothing"])
def test_an_object_that_is_not_a_model_is_refused(given):
    with pytest.raises(MeasureError, match="no configuration"):
        measure(given, tokens())


def test_a_hook_that_needs_a_whole_sequence_does_not_stop_the_search():
    model = tiny_model()

    class Searched(type(model.gpt_neox)):
        pass

    model.gpt_neox.__class__ = Searched
    seen = []
    handle = model.gpt_neox.layers[0].register_forward_hook(lambda m, a, out: seen.append(out[..., 7, :]))
    with pytest.raises(IndexError):
        model(torch.tensor([[1, 2, 3]]))
    measurement = measure(model, torch.arange(16).reshape(2, 8))
    handle.remove()
    same_measurements(measurement, measure(tiny_model(), torch.arange(16).reshape(2, 8)))
