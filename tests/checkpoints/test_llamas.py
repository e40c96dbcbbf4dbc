"""Pico's decoder and OLMo's first code, read as Llama."""

from __future__ import annotations

import json

import pytest
import torch

from massact.checkpoints.build import load_model
from massact.checkpoints.files import read_config
from massact.checkpoints.llamas import ORIGIN, as_known_config
from massact.checkpoints.source import SourceError
from massact.checkpoints.tensors import read_tensors
from tests.suites import _model, checkpoint

IDS = torch.arange(24).reshape(2, 12)


@pytest.mark.parametrize("kind", ["pico_decoder", "hf_olmo"])
def test_its_hidden_states_are_those_of_the_llama_it_was_made_from(kind, tmp_path):
    folder = checkpoint(tmp_path, kind, 3)
    assert read_config(folder)[ORIGIN] == kind
    model = load_model(folder, "float32")
    with torch.no_grad():
        ours = model(IDS, output_hidden_states=True).hidden_states
        theirs = _model("llama", 3)(IDS, output_hidden_states=True).hidden_states
    assert all(one.equal(other) for one, other in zip(ours, theirs, strict=True))


def test_picos_own_attention_gives_the_same(tmp_path):
    """Its rotation turns pairs of neighbouring dimensions, written here as in its paper's code."""
    folder = checkpoint(tmp_path, "pico_decoder", 4)
    stored = {n.removeprefix("pico_decoder."): t for n, t in read_tensors(folder, ("model.safetensors",)).items()}
    model = load_model(folder, "float32")
    x = stored["embedding_proj.weight"][IDS]

    def norm(h, weight):
        return h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + 1e-6) * weight

    def turned(h):
        h = h.reshape(2, 12, -1, 8)
        frequencies = 1.0 / 10000.0 ** (torch.arange(0, 8, 2) / 8)
        turn = torch.polar(torch.ones(12, 4), torch.outer(torch.arange(12.0), frequencies))[:, None]
        return (
            torch.view_as_real(torch.view_as_complex(h.reshape(*h.shape[:-1], 4, 2)) * turn).flatten(3).transpose(1, 2)
        )

    own = {n.removeprefix("layers.0.").removesuffix(".weight"): t for n, t in stored.items()}
    h = norm(x, own["attention_norm"])
    q, k = turned(h @ own["attention.q_proj"].T), turned(h @ own["attention.k_proj"].T)
    v = (h @ own["attention.v_proj"].T).reshape(2, 12, -1, 8).transpose(1, 2)
    mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    h = x + mixed.transpose(1, 2).reshape(2, 12, -1) @ own["attention.o_proj"].T
    m = norm(h, own["swiglu_norm"])
    out = h + (torch.nn.functional.silu(m @ own["swiglu.w_0"].T) * (m @ own["swiglu.w_1"].T)) @ own["swiglu.w_2"].T
    with torch.no_grad():
        torch.testing.assert_close(model(IDS, output_hidden_states=True).hidden_states[1], out)


def test_other_settings_of_olmos_first_code_stay_foreign(tmp_path):
    folder = checkpoint(tmp_path, "hf_olmo", 0)
    config = json.loads((folder / "config.json").read_text()) | {"layer_norm_type": "default"}
    assert as_known_config(config) == config
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(SourceError):
        load_model(folder, "float32")
