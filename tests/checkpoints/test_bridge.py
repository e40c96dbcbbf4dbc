"""The bridge against plain Hugging Face models: equal to the last bit; incomplete checkpoints are refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from massact.checkpoints import CheckpointStatus, SourceError, load_bridge, load_tokenizer
from massact.errors import ConfigError, OutOfMemoryError
from massact.extract import measure
from tests.hub import write_checkpoint
from tests.models import tiny


def tokens(n: int = 2, length: int = 64, vocabulary: int = 300) -> torch.Tensor:
    return torch.randint(0, vocabulary, (n, length), generator=torch.Generator().manual_seed(5))


def outputs_of_blocks(model, blocks, ids: torch.Tensor) -> list[torch.Tensor]:
    """What each block of a plain model returns for one sequence."""
    kept: list[torch.Tensor] = []
    handles = [
        block.register_forward_hook(lambda m, a, out: kept.append(out[0] if isinstance(out, tuple) else out))
        for block in blocks
    ]
    with torch.no_grad():
        model(ids[None], use_cache=False)
    for handle in handles:
        handle.remove()
    return kept


def same(one, other) -> None:
    for name in ("top", "token", "dimension", "median"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


def test_pythia_shapes_are_measured_as_hugging_face_computes_them_bit_for_bit(pythia):
    plain = AutoModelForCausalLM.from_pretrained(pythia, dtype=torch.float32, local_files_only=True).eval()
    bridge = load_bridge(pythia)
    ids = tokens(vocabulary=50304)
    same(measure(bridge, ids), measure(plain, ids))
    hidden: list[torch.Tensor] = []
    hooks = [(f"blocks.{layer}.hook_resid_post", lambda tensor, hook: hidden.append(tensor)) for layer in range(6)]
    with torch.no_grad(), bridge.hooks(fwd_hooks=hooks):
        bridge.original_model.gpt_neox(ids[:1], use_cache=False)
    expected = outputs_of_blocks(plain.gpt_neox, plain.gpt_neox.layers, ids[0])
    assert len(hidden) == len(expected) == 6
    assert all(torch.equal(got, want) for got, want in zip(hidden, expected, strict=True))
    assert hidden[0].shape == (1, 64, 128)


def old_style(folder, model) -> None:
    """As Pythia was published in 2022: pytorch_model.bin with buffers, embed_out, and a config.json of that time."""
    state = {name.replace("lm_head.", "embed_out."): value for name, value in model.state_dict().items()}
    for layer in range(model.config.num_hidden_layers):
        prefix = f"gpt_neox.layers.{layer}.attention."
        state[prefix + "bias"] = torch.ones(1, 1, 32, 32, dtype=torch.bool).tril()
        state[prefix + "masked_bias"] = torch.tensor(-1e9)
        state[prefix + "rotary_emb.inv_freq"] = torch.ones(1)
    torch.save(
        {name: value.half() if value.is_floating_point() else value for name, value in state.items()},
        folder / "pytorch_model.bin",
    )
    config = {
        "architectures": ["GPTNeoXForCausalLM"],
        "bos_token_id": 0,
        "eos_token_id": 0,
        "hidden_act": "gelu",
        "hidden_size": 16,
        "initializer_range": 0.02,
        "intermediate_size": 64,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 32,
        "model_type": "gpt_neox",
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "rotary_emb_base": 10000,
        "rotary_pct": 0.25,
        "tie_word_embeddings": False,
        "torch_dtype": "float16",
        "transformers_version": "4.24.0",
        "use_cache": True,
        "use_parallel_residual": True,
        "vocab_size": 300,
    }
    (folder / "config.json").write_text(json.dumps(config))


def test_old_pytorch_files_load_whole_and_in_the_format_asked(tmp_path, weights):
    new = AutoModelForCausalLM.from_pretrained(weights["step2"], dtype=torch.float32, local_files_only=True).eval()
    old_style(tmp_path, new)
    bridge = load_bridge(tmp_path)
    assert next(bridge.original_model.parameters()).dtype == torch.float32
    rounded = new.half().float()
    ids = tokens(length=16)
    same(measure(bridge, ids), measure(rounded, ids))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_format_asked_is_the_format_loaded(weights, dtype):
    bridge = load_bridge(weights["step2"], dtype)
    assert next(bridge.original_model.parameters()).dtype == getattr(torch, dtype)
    assert measure(bridge, tokens(length=8)).top.dtype == np.float32


def test_other_architectures_keep_their_own_adapter(tmp_path):
    torch.manual_seed(0)
    sizes = {"vocab_size": 300}
    llama = LlamaConfig(
        num_hidden_layers=2, hidden_size=16, num_attention_heads=2, num_key_value_heads=2, intermediate_size=32, **sizes
    )
    gpt2 = GPT2Config(n_layer=2, n_embd=16, n_head=2, n_positions=32, **sizes)
    for name, model in (("llama", LlamaForCausalLM(llama)), ("gpt2", GPT2LMHeadModel(gpt2))):
        model.save_pretrained(tmp_path / name)
        measured = measure(load_bridge(tmp_path / name), tokens(length=16))
        plain = measure(model.eval(), tokens(length=16))
        np.testing.assert_allclose(measured.top, plain.top, rtol=1e-5)
        np.testing.assert_allclose(measured.median, plain.median, rtol=1e-5)


def test_the_bridge_uses_the_folders_tokenizer_and_searches_no_other(tmp_path, weights):
    assert load_bridge(weights["step2"]).tokenizer.decode([0]) == "<|endoftext|>"
    shutil.copytree(weights["step2"], tmp_path / "bare", ignore=shutil.ignore_patterns("tokenizer*", "special*"))
    ids = tokens(length=16)
    same(measure(load_bridge(tmp_path / "bare"), ids), measure(load_bridge(weights["step2"]), ids))
    with pytest.raises(SourceError, match=r"tokenizer\.json"):
        load_tokenizer(tmp_path / "bare")
    (tmp_path / "bare" / "tokenizer.json").write_text("{}")
    with pytest.raises(SourceError, match="not a tokenizer") as caught:
        load_tokenizer(tmp_path / "bare")
    assert caught.value.status is CheckpointStatus.LOAD_FAILED


def spoiled(kind: str, folder) -> None:
    path = folder / "model.safetensors"
    state = load_file(path)
    norm = "gpt_neox.layers.1.input_layernorm.weight"
    match kind:
        case "truncated":
            path.write_bytes(path.read_bytes()[:-1000])
        case "pointer":
            path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
        case "empty":
            path.write_bytes(b"")
        case "missing tensor":
            save_file({n: v for n, v in state.items() if n != norm}, path, metadata={"format": "pt"})
        case "other shape":
            save_file({**state, norm: torch.ones(17)}, path, metadata={"format": "pt"})
        case "pickle":
            path.unlink()
            (folder / "pytorch_model.bin").write_bytes(b"not a pickle")
        case "config":
            (folder / "config.json").write_text("{")
        case "fewer layers":
            config = json.loads((folder / "config.json").read_text())
            (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("truncated", CheckpointStatus.CORRUPT),
        ("pointer", CheckpointStatus.CORRUPT),
        ("empty", CheckpointStatus.CORRUPT),
        ("pickle", CheckpointStatus.CORRUPT),
        ("config", CheckpointStatus.CORRUPT),
        ("missing tensor", CheckpointStatus.LOAD_FAILED),
        ("other shape", CheckpointStatus.LOAD_FAILED),
        ("fewer layers", CheckpointStatus.LOAD_FAILED),
    ],
)
def test_a_spoiled_checkpoint_is_refused_and_never_filled_with_random_numbers(tmp_path, weights, kind, status):
    folder = shutil.copytree(weights["step2"], tmp_path / "step2")
    spoiled(kind, folder)
    with pytest.raises(SourceError) as caught:
        load_bridge(folder)
    assert caught.value.status is status, caught.value
    assert str(folder) in caught.value.what
    assert caught.value.remedy


def test_weights_that_memory_does_not_hold_are_called_that(weights, monkeypatch):
    def refuse(*arguments, **named):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("transformers.PreTrainedModel.from_pretrained", refuse)
    with pytest.raises(OutOfMemoryError, match="do not fit into memory"):
        load_bridge(weights["step0"])


def test_an_unknown_format_is_refused(weights):
    with pytest.raises(ConfigError, match="float32"):
        load_bridge(weights["step2"], "float8")


def test_importing_the_room_imports_neither_torch_nor_pandas():
    code = "import sys, massact.checkpoints, massact.checkpoints.pythia, massact.checkpoints.reach as r;"
    code += "r.reachable('http://127.0.0.1:9');"
    code += "sys.exit(','.join(n for n in ('torch', 'transformers', 'huggingface_hub', 'pandas') if n in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


@pytest.mark.slow
def test_two_seeds_of_a_wider_model(tmp_path):
    for seed in (0, 1):
        folder = write_checkpoint(tmp_path / str(seed), tiny(n_layers=4, d_model=256, n_heads=8, context=512), seed)
        plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
        ids = tokens(length=512)
        same(measure(load_bridge(folder), ids), measure(plain, ids))
