"""Whether weights look trained: GPT-NeoX with our own initialisation, and other families."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from massact.checkpoints.excerpt import file_reader
from massact.checkpoints.untrained import State, look
from tests.hub import PYTHIA_14M


def looked(folder, **options):
    return look(file_reader(folder / "model.safetensors"), **options)


@pytest.fixture(scope="module")
def model():
    from massact.train import build_model

    return build_model(PYTHIA_14M, 0).half()


def test_pythias_initialisation_is_untrained(pythia):
    assert looked(pythia, pythia=True).state is State.UNTRAINED
    assert looked(pythia).state is State.UNTRAINED


def test_only_some_hundred_kilobytes_are_read(pythia):
    lengths = []
    read = file_reader(pythia / "model.safetensors")

    def counting(begin, length):
        lengths.append(length)
        return read(begin, length)

    look(counting, pythia=True)
    assert sum(lengths) < 400_000
    assert len(lengths) <= 8


@pytest.mark.parametrize(
    ("name", "change", "sign"),
    [
        ("gpt_neox.layers.0.input_layernorm.weight", lambda w: w[3].fill_(1.01), "runs from 1 to 1.01"),
        ("gpt_neox.layers.0.input_layernorm.bias", lambda w: w[3].fill_(1e-4), "is not 0"),
        ("gpt_neox.embed_in.weight", lambda w: w.mul_(1.15), "Pythia begins with 0.0559"),
        ("gpt_neox.layers.0.attention.dense.weight", lambda w: w.mul_(0.8), "Pythia begins with 0.0295"),
    ],
)
def test_one_thing_that_training_moves_is_enough(model, tmp_path, name, change, sign):
    weight = model.get_parameter(name)
    before = weight.detach().clone()
    try:
        with torch.no_grad():
            change(weight)
        model.save_pretrained(tmp_path)
    finally:
        with torch.no_grad():
            weight.copy_(before)
    look = looked(tmp_path, pythia=True)
    assert look.state is State.TRAINED
    assert sign in look.sign


def test_another_family_is_recognised_by_its_norms(tmp_path):
    llama = LlamaForCausalLM(
        LlamaConfig(num_hidden_layers=1, hidden_size=16, intermediate_size=32, num_attention_heads=2, vocab_size=64)
    )
    llama.save_pretrained(tmp_path / "new")
    assert looked(tmp_path / "new").state is State.UNTRAINED
    with torch.no_grad():
        llama.model.layers[0].input_layernorm.weight[0] = 0.5
    llama.save_pretrained(tmp_path / "old")
    assert looked(tmp_path / "old").state is State.TRAINED


def test_what_cannot_be_read_is_unknown(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    look = looked(tmp_path)
    assert (look.state, look.answered) == (State.UNKNOWN, False)
