import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    BloomConfig,
    CohereConfig,
    FalconConfig,
    Gemma3TextConfig,
    GPT2Config,
    GPTJConfig,
    GPTNeoConfig,
    LlamaConfig,
    OPTConfig,
    PhiConfig,
    StableLmConfig,
)

from massact import Architecture
from massact.architecture import LARGEST, differences, numbers_in
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
        ({"rotary_base": math.nan}, "rotary_base = nan is not a finite number"),
        ({"rotary_base": math.inf}, "rotary_base = inf is not a finite number"),
        ({"rotary_base": 10**400}, "rotary_base"),
        ({"rotary_base": 1e13}, "rotary_base"),
        ({"rotary_base": "high"}, "rotary_base"),
        ({"rotary_fraction": "all"}, "rotary_fraction"),
        ({"rotary_fraction": math.nan}, "rotary_fraction"),
        ({"parallel_residual": "false"}, "parallel_residual"),
        ({"parallel_residual": 1}, "parallel_residual"),
        ({"d_model": True}, "d_model"),
        ({"d_model": "24"}, "d_model"),
    ],
)
def test_impossible_numbers_are_refused_by_name(change, words):
    with pytest.raises(ArchitectureError, match=words):
        Architecture(**{**SHAPE, **change})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_layers", 1001), ("n_layers", 10**7), ("d_model", 1_000_001), ("d_model", 10**11), ("d_model", 10**12),
        ("d_model", 10**23), ("n_heads", 10**23), ("d_mlp", 10**12), ("vocab_size", 10**12), ("context", 10**12),
    ],
)  # fmt: skip
def test_numbers_beyond_any_transformer_are_refused_at_once_and_in_one_line(name, value):
    with pytest.raises(ArchitectureError, match=f"{name} = .* give at most {LARGEST[name]:,}") as caught:
        Architecture(**{**SHAPE, name: value})
    assert len(str(caught.value)) < 120


def test_a_number_of_thousands_of_digits_is_refused_in_one_short_line():
    with pytest.raises(ArchitectureError, match="thousands of digits") as caught:
        Architecture(**{**SHAPE, "d_model": 10**5000})
    assert len(str(caught.value)) < 120


def test_the_largest_numbers_are_taken():
    sizes = {name: value for name, value in LARGEST.items() if name != "rotary_base"}
    assert Architecture(**sizes, rotary_base=LARGEST["rotary_base"]).n_parameters > 10**15
    with pytest.raises(ArchitectureError, match="nearest head counts"):
        Architecture(**{**sizes, "n_heads": 7})


def test_numbers_of_numpy_are_taken_as_pythons():
    architecture = Architecture(
        **{name: np.int64(value) for name, value in SHAPE.items()},
        rotary_fraction=np.float32(0.5),
        parallel_residual=np.bool_(False),
    )
    assert json.loads(json.dumps(architecture.as_dict())) == {
        **SHAPE, "rotary_fraction": 0.5, "rotary_base": 1e4, "parallel_residual": False,
    }  # fmt: skip


def test_the_numbers_are_read_back_from_the_model_made_of_them():
    for change in ({}, {"rotary_fraction": 0.5, "rotary_base": 500.0, "parallel_residual": False}):
        architecture = Architecture(**{**SHAPE, **change})
        assert numbers_in(hf_config(architecture).to_dict()) == architecture.as_dict()


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


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (LlamaConfig(), (1.0, 10000.0, False)),
        (GPT2Config(), (0.0, None, False)),
        (GPTJConfig(), (0.25, 10000.0, True)),
        (PhiConfig(), (0.5, 10000.0, True)),
        (FalconConfig(), (1.0, 10000.0, True)),
        (FalconConfig(alibi=True, parallel_attn=False), (0.0, None, False)),
        (StableLmConfig(), (0.25, 10000.0, False)),
        (CohereConfig(), (1.0, 500000.0, True)),
        (Gemma3TextConfig(), (1.0, None, False)),
        (BloomConfig(), (0.0, None, False)),
    ],
    ids=lambda value: getattr(value, "model_type", ""),
)
def test_positions_and_layout_are_those_of_the_kind(config, expected):
    numbers = numbers_in(config.to_dict())
    assert tuple(numbers.get(n) for n in ("rotary_fraction", "rotary_base", "parallel_residual")) == expected


def test_older_configurations_name_rotary_otherwise():
    settings = {"model_type": "gpt_neox", "rotary_pct": 0.5, "rotary_emb_base": 77, "use_parallel_residual": False}
    assert numbers_in(settings) == {"rotary_fraction": 0.5, "rotary_base": 77.0, "parallel_residual": False}
    assert numbers_in({"model_type": "gpt_neox"}) == {
        "rotary_fraction": 0.25, "rotary_base": 10000.0, "parallel_residual": True,
    }  # fmt: skip


def test_what_a_configuration_does_not_say_is_left_out():
    assert numbers_in({"hidden_size": 8, "intermediate_size": [1, 2]}) == {"d_model": 8}


KEYS = [
    "model_type", "hidden_size", "n_embd", "num_hidden_layers", "num_attention_heads", "intermediate_size", "n_inner",
    "vocab_size", "max_position_embeddings", "rotary_pct", "rotary_dim", "rope_theta", "rope_parameters",
    "rope_scaling", "partial_rotary_factor", "use_parallel_residual", "parallel_attn", "alibi", "text_config",
]  # fmt: skip
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.just(10**400), st.just(-(10**400)), st.floats(), st.text(max_size=3),
    st.sampled_from(["gpt_neox", "llama", "falcon", "gpt2"]),
)  # fmt: skip
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
)


@given(st.dictionaries(st.sampled_from(KEYS), VALUES), st.dictionaries(st.sampled_from(KEYS), VALUES))
def test_only_valid_numbers_are_read_from_a_configuration(config, other):
    numbers = numbers_in(config)
    assert all(isinstance(value, int | float) for value in numbers.values())
    differences(numbers, numbers_in(other))


def test_a_model_type_that_is_not_a_string_is_ignored():
    assert numbers_in({"model_type": {"a": 1}, "hidden_size": 8, "rotary_dim": 4}) == {"d_model": 8}
    assert numbers_in({"hidden_size": 0, "num_attention_heads": 2, "rotary_dim": 4}).get("rotary_fraction") is None
