"""A refilled model has the unembedding of its own checkpoint, if a work needs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from massact.checkpoints import FolderSource, SourceError
from massact.checkpoints.tensors import is_unembedding
from massact.checkpoints.weights import CheckpointLoader
from tests.models import tiny_model

IDS = torch.arange(12).reshape(2, 6)


def llama(seed: int, *, tied: bool):
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, tie_word_embeddings=tied,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


MAKERS = {
    "gpt_neox": tiny_model,
    "llama": lambda seed: llama(seed, tied=False),
    "tied": lambda seed: llama(seed, tied=True),
}


def renamed(folder: Path, change) -> None:
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def other_name(tensors):
    """Older versions of transformers write `embed_out.weight`, newer ones `lm_head.weight`."""
    assert "embed_out.weight" in tensors
    return {"lm_head.weight" if name == "embed_out.weight" else name: held for name, held in tensors.items()}


def logits(model) -> np.ndarray:
    with torch.no_grad():
        return model(IDS).logits.numpy()


@pytest.mark.parametrize("kind", MAKERS)
def test_each_checkpoint_gives_the_logits_it_gives_alone(tmp_path, kind):
    models = {}
    for step in range(3):
        MAKERS[kind](seed=step).save_pretrained(tmp_path / f"step{step}")
    source, loader = FolderSource(tmp_path), CheckpointLoader(unembedding=True)
    for step in (0, 2, 1):
        models[step] = loader.load(loader.prepare(source.resolve(step)))
        alone = AutoModelForCausalLM.from_pretrained(tmp_path / f"step{step}").eval()
        assert np.array_equal(logits(models[step]), logits(alone))
    assert models[0] is models[1] is models[2]  # refilled, not built again


def test_an_unembedding_under_its_other_name_is_refilled_too(tmp_path):
    for step in range(2):
        tiny_model(seed=step).save_pretrained(tmp_path / f"step{step}")
    expected = logits(AutoModelForCausalLM.from_pretrained(tmp_path / "step1").eval())
    renamed(tmp_path / "step1", other_name)
    source, loader = FolderSource(tmp_path), CheckpointLoader(unembedding=True)
    first = loader.load(loader.prepare(source.resolve(0)))
    again = loader.load(loader.prepare(source.resolve(1)))
    assert again is first
    assert np.array_equal(logits(again), expected)


@pytest.mark.parametrize("step", [0, 1])
def test_a_checkpoint_without_an_unembedding_is_refused_where_it_is_needed(tmp_path, step):
    for number in range(2):
        tiny_model(seed=number).save_pretrained(tmp_path / f"step{number}")
    renamed(tmp_path / f"step{step}", lambda tensors: {n: t for n, t in tensors.items() if not is_unembedding(n)})
    source, loader = FolderSource(tmp_path), CheckpointLoader(unembedding=True)
    loaded = []
    with pytest.raises(SourceError, match=r"has no unembedding \(lm_head.weight\)"):
        for number in range(2):
            loaded.append(loader.load(loader.prepare(source.resolve(number))))
    assert len(loaded) == step
    assert len([CheckpointLoader().load(loader.prepare(source.resolve(number))) for number in range(2)]) == 2


def test_a_model_that_is_tied_takes_the_file_s_own_copy_of_its_embedding(tmp_path):
    for step in range(2):
        llama(step, tied=True).save_pretrained(tmp_path / f"step{step}")

    def copied(tensors):
        return {**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"].clone()}

    renamed(tmp_path / "step1", copied)
    source, loader = FolderSource(tmp_path), CheckpointLoader(unembedding=True)
    first = loader.load(loader.prepare(source.resolve(0)))
    again = loader.load(loader.prepare(source.resolve(1)))
    assert again is first
    assert np.array_equal(logits(again), logits(AutoModelForCausalLM.from_pretrained(tmp_path / "step1").eval()))
