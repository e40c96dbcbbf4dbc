import pytest
from transformers import GPT2Config, GPTNeoConfig, LlamaConfig, OPTConfig

from massact import Architecture
from massact.architecture import numbers_in
from massact.errors import ArchitectureError
from massact.train import build_model, hf_config

SHAPE = {"n_layers": 3, "d_model": 24, "n_heads": 4, "d_mlp": 96, "vocab_size": 300, "context": 16}


def test_parameter_count_is_that_of_the_hugging_face_model():
    architecture = Architecture(**SHAPE)
    assert architecture.n_parameters == sum(p.numel() for p in build_model(architecture, 0).parameters())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_heads": 5}, "4, 6"),
        ({"n_layers": 0}, "n_layers"),
        ({"d_model": 24.5}, "d_model"),
        ({"rotary_fraction": 1.5}, "rotary_fraction"),
        ({"rotary_base": 0.0}, "rotary_base"),
    ],
)
def test_impossible_numbers_are_refused_by_name(change, words):
    with pytest.raises(ArchitectureError, match=words):
        Architecture(**{**SHAPE, **change})


def test_the_numbers_are_read_back_from_the_model_made_of_them():
    assert numbers_in(hf_config(Architecture(**SHAPE)).to_dict()) == SHAPE


@pytest.mark.parametrize(
    ("config", "d_mlp"),
    [
        (GPT2Config(n_embd=48, n_layer=2, n_head=4), 192),
        (GPT2Config(n_embd=48, n_layer=2, n_head=4, n_inner=100), 100),
        (GPTNeoConfig(hidden_size=48, num_layers=2, num_heads=4, attention_types=[[["global"], 2]]), 192),
        (OPTConfig(hidden_size=48, num_hidden_layers=2, num_attention_heads=4, ffn_dim=77), 77),
        (LlamaConfig(hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=99), 99),
    ],
    ids=["gpt2", "gpt2-inner", "gpt-neo", "opt", "llama"],
)
def test_each_kind_of_configuration_has_its_own_names(config, d_mlp):
    numbers = numbers_in(config.to_dict())
    assert {name: numbers[name] for name in ("n_layers", "d_model", "n_heads", "d_mlp")} == {
        "n_layers": 2, "d_model": 48, "n_heads": 4, "d_mlp": d_mlp,
    }  # fmt: skip
    assert numbers["vocab_size"] == config.vocab_size
    assert numbers["context"] == config.max_position_embeddings


def test_what_a_configuration_does_not_say_is_left_out():
    assert numbers_in({"hidden_size": 8, "intermediate_size": [1, 2]}) == {"d_model": 8}
