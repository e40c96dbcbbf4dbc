import math

import pytest

from massact import Architecture
from massact.train import build_model, hf_config


def test_initialisation_is_small_init_with_wang_init_on_the_writing_projections():
    architecture = Architecture(n_layers=3, d_model=128, n_heads=4, d_mlp=512, vocab_size=512, context=64)
    weights = dict(build_model(architecture, 0).named_parameters())
    small, wang = math.sqrt(2 / (5 * 128)), 2 / (3 * math.sqrt(128))
    assert weights["gpt_neox.embed_in.weight"].std().item() == pytest.approx(small, rel=0.02)
    assert weights["gpt_neox.layers.1.attention.query_key_value.weight"].std().item() == pytest.approx(small, rel=0.02)
    assert weights["gpt_neox.layers.1.mlp.dense_4h_to_h.weight"].std().item() == pytest.approx(wang, rel=0.02)
    assert weights["gpt_neox.layers.2.attention.dense.weight"].std().item() == pytest.approx(wang, rel=0.02)
    assert (weights["gpt_neox.layers.0.input_layernorm.weight"] == 1).all()
    assert (weights["gpt_neox.layers.0.mlp.dense_h_to_4h.bias"] == 0).all()


def test_configuration_has_the_architectures_numbers():
    architecture = Architecture(
        n_layers=2, d_model=32, n_heads=2, d_mlp=96, vocab_size=300, context=16, rotary_fraction=0.5, rotary_base=500.0
    )
    config = hf_config(architecture)
    assert (config.num_hidden_layers, config.hidden_size, config.intermediate_size) == (2, 32, 96)
    assert config.rope_parameters["partial_rotary_factor"] == 0.5
    assert config.rope_parameters["rope_theta"] == 500.0
