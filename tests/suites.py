"""The suites of conf/model/ as the Hub names them, served with small random weights of their classes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from tests.gallery import KINDS

CONF = Path(__file__).parents[1] / "conf"
B, T = 10**9, 10**12


@dataclass(frozen=True)
class Served:
    """A suite.

    Attributes
    ----------
    names
        Repository -> the names in it: branches, tags, or titles of commits.
    axis
        The steps that must be found, each with its tokens (None: nobody states them).
    kind
        The class that is served, if not the one that the suite states.
    words
        What chooses this model of the suite.
    said
        What is said of the names that are left out, or of other variants.
    """

    suite: str
    names: Mapping[str, tuple[str, ...]]
    axis: Mapping[int, int | None]
    kind: str = ""
    words: tuple[str, ...] = ()
    tags: bool = False
    titles: bool = False
    said: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return "-".join([self.suite, *(word.partition("=")[2] for word in self.words)])

    @property
    def axis_name(self) -> str:
        """What the suite's steps count."""
        return OmegaConf.select(self._conf, "naming.axis", default="step")

    @property
    def _conf(self) -> Any:
        return OmegaConf.load(CONF / "model" / f"{self.suite}.yaml")

    def revisions(self, root: Path) -> dict[str, dict[str, Path]]:
        """What a loopback hub serves."""
        served = {}
        for repository, names in self.names.items():
            served[repository] = {
                commit(name) if self.titles else name: checkpoint(root, self.kind or self._conf.kind, seed)
                for seed, name in enumerate(names)
            }
        return served

    def faults(self) -> dict[str, Any]:
        """The other arguments of `tests.hub.serving`."""
        every = [name for names in self.names.values() for name in names]
        tags = frozenset(every) - {"main"} if self.tags else frozenset()
        return {"tags": tags, "titles": {commit(name): name for name in every} if self.titles else {}}


def one(suite: str, repository: str, *names: str, axis: Mapping[int, int | None], **other: Any) -> Served:
    """A suite in one repository, beside its main branch."""
    return Served(suite, {repository: (*names, "main")}, axis, **other)


def commit(title: str) -> str:
    return hashlib.sha1(title.encode(), usedforsecurity=False).hexdigest()


SUITES = (
    *(
        one(
            f"pythia-160m-{what}-seed", f"EleutherAI/pythia-160m-{what}-seed{seed}", "step0", "step1000",
            axis={0: 0, 1000: 1000 * 1024 * 2048}, words=(f"model.seed={seed}",),
        )
        for what, seed in (("data", 1), ("weight", 3))
    ),
    one(
        "olmo-1b", "allenai/OLMo-1B-hf", "step0-tokens0B", "step1000-tokens4B", axis={0: 0, 1000: 1000 * 2048**2},
    ),
    one(
        "olmo-1b-0724", "allenai/OLMo-1B-0724-hf", "step1000-tokens2B", "step2000-tokens4B",
        axis={1000: 2 * B, 2000: 4 * B},
    ),
    Served(
        "olmo-2-1b",
        {
            "allenai/OLMo-2-0425-1B": ("stage1-step10000-tokens21B", "stage1-step40000-tokens84B", "stage2-step1"),
            "allenai/OLMo-2-0425-1B-early-training": ("stage1-step1000-tokens3B", "stage1-step10000-tokens21B"),
        },
        {1000: 3 * B, 10000: 21 * B, 40000: 84 * B},
        said=("stage2-step1 does not match", "names step 10000, which allenai/OLMo-2-0425-1B has"),
    ),
    one(
        "olmo-2-7b", "allenai/OLMo-2-1124-7B", "step150-tokens1B", "stage1-step1000-tokens5B",
        "stage2-ingredient1-step1000-tokens5B", axis={150: B, 1000: 5 * B}, said=("stage2-ingredient1 (1)",),
    ),
    one(
        "olmo-3-7b", "allenai/Olmo-3-1025-7B", "stage1-step1000", "stage1-step2000", "stage2-step1000",
        axis={1000: None, 2000: None}, said=("stage2 (1)",),
    ),
    one(
        "datadecide", "allenai/DataDecide-c4-20M", "step0-seed-default", "step1250-seed-default",
        "step1250-seed-small-aux-2", axis={0: None, 1250: None}, said=("small-aux-2 (1)",),
        words=("model.corpus=c4", "model.size=20M"),
    ),
    one(
        "smollm2", "HuggingFaceTB/SmolLM2-360M-intermediate-checkpoints", "step-160000", "step-320000",
        axis={160000: None, 320000: None}, words=("model.size=360M",),
    ),
    one(
        "smollm3", "HuggingFaceTB/SmolLM3-3B-checkpoints", "stage1-step-40000", "stage2-step-3480000",
        "lc-4k-to-32k-step-4000", axis={40000: 40000 * 2359296, 3480000: 3480000 * 2359296},
        said=("lc-4k-to-32k-step-4000 does not match",),
    ),
    one("amber", "LLM360/Amber", "ckpt_000", "ckpt_359", axis={0: None, 359: None}),
    one("k2", "LLM360/K2", "ckpt_001", "ckpt_002", axis={1: None, 2: None}),
    one(
        "crystal", "LLM360/CrystalCoder", "CrystalCoder_phase1_checkpoint_000300",
        "CrystalCoder_phase1_checkpoint_055500", "CrystalCoder_phase2_checkpoint_000300",
        axis={300: None, 55500: None}, kind="gpt2", said=("model.variant: 2 (1)",),
    ),
    one(
        "apertus-8b", "swiss-ai/Apertus-8B-2509", "step50000-tokens210B", "step2627139-tokens15T",
        "longctx-step100", axis={50000: 210 * B, 2627139: 15 * T}, said=("longctx-step100 does not match",),
    ),
    one(
        "marin-8b", "marin-community/marin-8b-base", "kestrel", "deeper-starling",
        axis={27 * T // 10: 27 * T // 10, 127 * T // 10: 127 * T // 10},
    ),
    one(
        "bloom", "bigscience/bloom-1b1-intermediate", "global_step1000", "global_step10000",
        axis={1000: None, 10000: None}, tags=True, words=("model.size=1b1",),
    ),
    one(
        "pico", "pico-lm/pico-decoder-tiny", "Saving HF Model -- Step 0", "Saving HF Model -- Step 1000",
        "Saving Fabric Checkpoint -- Step 1000", axis={0: None, 1000: None}, titles=True,
        said=("Saving Fabric Checkpoint -- Step 1000 does not match",),
    ),
    one(
        "gpt2-crfm", "stanford-crfm/expanse-gpt2-small-x777", "checkpoint-0", "checkpoint-100",
        axis={0: None, 100: None}, words=("model.repository=stanford-crfm/expanse-gpt2-small-x777",),
    ),
    one(
        "tinyllama", "TinyLlama/tinyLlama-intermediate-checkpoints", "step-5k-token-10B", "step-480k-token-1007B",
        axis={5000: 5000 * 2048 * 1024, 480000: 480000 * 2048 * 1024},
    ),
    one(
        "fineweb-ablation", "HuggingFaceFW/ablation-model-fineweb-edu", "step-001000-2BT", "step-002000-4BT",
        axis={1000: 2 * B, 2000: 4 * B},
    ),
    one(
        "babylm", "BabyLM-community/babylm-baseline-100m-gpt2", "chck_1M", "chck_100M",
        axis={10**6: None, 10**8: None},
    ),
    one("lucie-7b", "OpenLLM-France/Lucie-7B", "step0005000", "step0010000", axis={5000: None, 10000: None}),
)  # fmt: skip


def checkpoint(root: Path, kind: str, seed: int) -> Path:
    """A small random model of a class."""
    folder = root / f"{kind}-{seed}"
    if not folder.is_dir():
        if kind in _TRANSLATED:
            _TRANSLATED[kind](folder, seed)
        else:
            _model(kind, seed).save_pretrained(folder)
    return folder


@cache
def _model(kind: str, seed: int) -> Any:
    return next(k for k in KINDS if k.name == kind).model(seed)


def write_pico(folder: Path, seed: int) -> None:
    """A small random Llama as Pico stores it: its names, and the dimensions of a head in pairs for the rotation."""
    llama = _model("llama", seed)
    width, heads = llama.config.hidden_size, llama.config.num_attention_heads
    parts = {
        "self_attn": "attention", "mlp.gate_proj": "swiglu.w_0", "mlp.up_proj": "swiglu.w_1",
        "mlp.down_proj": "swiglu.w_2", "input_layernorm": "attention_norm", "post_attention_layernorm": "swiglu_norm",
        "model.embed_tokens": "embedding_proj", "model.norm": "output_norm", "lm_head": "de_embedding_proj",
    }  # fmt: skip
    tensors = {}
    for name, value in llama.state_dict().items():
        stored = name
        for ours, theirs in parts.items():
            stored = stored.replace(ours, theirs)
        if "q_proj" in name or "k_proj" in name:
            half = width // heads // 2
            value = value.reshape(-1, 2, half, width).transpose(1, 2).reshape(value.shape)
        tensors[f"pico_decoder.{stored.removeprefix('model.')}"] = value.contiguous()
    config = {
        "model_type": "pico_decoder", "d_model": width, "n_layers": llama.config.num_hidden_layers,
        "vocab_size": llama.config.vocab_size, "attention_n_heads": heads, "max_seq_len": 64, "norm_eps": 1e-6,
        "attention_n_kv_heads": llama.config.num_key_value_heads, "position_emb_theta": 10000.0, "batch_size": 8,
        "activation_hidden_dim": llama.config.intermediate_size, "architectures": ["PicoDecoderHF"],
        "auto_map": {"AutoModelForCausalLM": "pico_decoder.PicoDecoderHF"},
    }  # fmt: skip
    _write(folder, config, tensors)


def write_olmo(folder: Path, seed: int) -> None:
    """A small random Llama as OLMo's first code stores it: its names, and packed matrices."""
    import torch

    llama = _model("llama", seed)
    state = llama.state_dict()
    prefix = "model.transformer."
    tensors = {
        f"{prefix}wte.weight": state["model.embed_tokens.weight"],
        f"{prefix}ln_f.weight": state["model.norm.weight"],
        f"{prefix}ff_out.weight": state["lm_head.weight"],
    }
    for layer in range(llama.config.num_hidden_layers):
        own = {n.removeprefix(f"model.layers.{layer}.").removesuffix(".weight"): v for n, v in state.items()}
        packed = {
            "att_proj": torch.cat([own[f"self_attn.{letter}_proj"] for letter in "qkv"]),
            "attn_out": own["self_attn.o_proj"],
            "ff_proj": torch.cat([own["mlp.up_proj"], own["mlp.gate_proj"]]),
            "ff_out": own["mlp.down_proj"],
            "attn_norm": own["input_layernorm"],
            "ff_norm": own["post_attention_layernorm"],
        }
        tensors |= {f"{prefix}blocks.{layer}.{name}.weight": value for name, value in packed.items()}
    config = {
        "model_type": "hf_olmo", "d_model": 32, "n_layers": 3, "n_heads": 4, "n_kv_heads": 2, "vocab_size": 190,
        "embedding_size": 199, "mlp_hidden_size": 96, "activation_type": "swiglu", "layer_norm_type": "rms",
        "block_type": "sequential", "rope": True, "alibi": False, "include_bias": False, "max_sequence_length": 64,
        "weight_tying": False, "layer_norm_eps": 1e-6, "architectures": ["OLMoForCausalLM"],
    }  # fmt: skip
    _write(folder, config, {name: value.clone() for name, value in tensors.items()})


def _write(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(dict(tensors), folder / "model.safetensors")


_TRANSLATED = {"pico_decoder": write_pico, "hf_olmo": write_olmo}
