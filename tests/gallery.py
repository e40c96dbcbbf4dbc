"""Small random models of the classes that people train, by `model_type`: configuration, and where their blocks are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_WIDTH, _HEADS, _MLP, _LAYERS, _VOCABULARY = 32, 4, 48, 3, 199
_USUAL: dict[str, Any] = {
    "hidden_size": _WIDTH,
    "num_hidden_layers": _LAYERS,
    "num_attention_heads": _HEADS,
    "num_key_value_heads": 2,
    "intermediate_size": _MLP,
    "max_position_embeddings": 64,
}
_GPT2 = {"n_embd": _WIDTH, "n_layer": _LAYERS, "n_head": _HEADS, "n_positions": 64}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}


@dataclass(frozen=True)
class Kind:
    """A class of models: its `model_type`, the numbers of a small one, and the path of its blocks in the model.

    `d_mlp` and `n_heads` are None where a block has none of its own kind.
    """

    name: str
    numbers: dict[str, Any] = field(default_factory=dict)
    blocks: str = "model.layers"
    d_mlp: int | None = _MLP
    n_heads: int | None = _HEADS

    @property
    def config(self) -> dict[str, Any]:
        """Arguments of the class's configuration."""
        base = {} if self.blocks != "model.layers" else _USUAL
        ids = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
        return {"vocab_size": _VOCABULARY, **ids, **base, **self.numbers}

    def model(self, seed: int = 0) -> Any:
        """A random model of this class."""
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM

        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(self.name, **self.config)).eval()


KINDS = (
    Kind("gpt_neox", _USUAL, "gpt_neox.layers"),
    Kind("gpt2", _GPT2, "transformer.h", d_mlp=4 * _WIDTH),
    Kind("gpt_neo", {"hidden_size": _WIDTH, "num_layers": 2, "num_heads": _HEADS, "window_size": 8,
                     "attention_types": [[["global", "local"], 1]], "max_position_embeddings": 64},
         "transformer.h", d_mlp=4 * _WIDTH),
    Kind("gptj", {**_GPT2, "rotary_dim": 4}, "transformer.h", d_mlp=4 * _WIDTH),
    Kind("codegen", {**_GPT2, "rotary_dim": 4}, "transformer.h", d_mlp=4 * _WIDTH),
    Kind("gpt_bigcode", _GPT2, "transformer.h", d_mlp=4 * _WIDTH),
    Kind("opt", {"hidden_size": _WIDTH, "word_embed_proj_dim": _WIDTH, "num_hidden_layers": _LAYERS, "ffn_dim": _MLP,
                 "num_attention_heads": _HEADS, "max_position_embeddings": 64}, "model.decoder.layers"),
    Kind("bloom", {"hidden_size": _WIDTH, "n_layer": _LAYERS, "n_head": _HEADS}, "transformer.h", d_mlp=4 * _WIDTH),
    Kind("mpt", {"d_model": _WIDTH, "n_layers": _LAYERS, "n_heads": _HEADS, "max_seq_len": 64},
         "transformer.blocks", d_mlp=4 * _WIDTH),
    Kind("falcon", {"hidden_size": _WIDTH, "num_hidden_layers": _LAYERS, "num_attention_heads": _HEADS},
         "transformer.h", d_mlp=4 * _WIDTH),
    Kind("llama"),
    Kind("mistral"),
    Kind("mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2}),
    Kind("qwen2"),
    Kind("qwen2_moe", {**_EXPERTS, "shared_expert_intermediate_size": 24}),
    Kind("qwen3", {"head_dim": 8}),
    Kind("qwen3_moe", {**_EXPERTS, "head_dim": 8}),
    Kind("gemma", {"head_dim": 8}),
    Kind("gemma2", {"head_dim": 8, "sliding_window": 16}),
    Kind("gemma3_text", {"head_dim": 8, "sliding_window": 16}),
    Kind("olmo"),
    Kind("olmo2"),
    Kind("olmo3", {"sliding_window": 16}),
    Kind("olmoe", {"num_experts": 4, "num_experts_per_tok": 2}),
    Kind("phi"),
    Kind("phi3"),
    Kind("stablelm"),
    Kind("cohere"),
    Kind("cohere2", {"sliding_window": 16}),
    Kind("granite"),
    Kind("starcoder2"),
    Kind("persimmon"),
    Kind("nemotron"),
    Kind("glm", {"head_dim": 8}),
    Kind("smollm3"),
    Kind("gpt_oss", {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 8, "sliding_window": 16}),
    Kind("apertus"),
    Kind("jamba", {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1,
                   "num_experts": 2, "use_mamba_kernels": False, "mamba_d_state": 8, "mamba_dt_rank": 4}),
    Kind("mamba", {"hidden_size": _WIDTH, "num_hidden_layers": _LAYERS, "state_size": 8},
         "backbone.layers", None, None),
    Kind("mamba2", {"hidden_size": _WIDTH, "num_hidden_layers": _LAYERS, "state_size": 8, "num_heads": 8, "head_dim": 8,
                    "n_groups": 1, "chunk_size": 8}, "backbone.layers", None, None),
)  # fmt: skip
