"""Classes that transformers does not know and that compute what Llama computes. They are read as Llama.

Their own code does not run. Pico's decoder and OLMo's first code (`hf_olmo` with RMS norms, of DataDecide) differ from
Llama in names, in how matrices are packed, and in the order of a head's dimensions for the rotation. Block outputs are
the same but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

ORIGIN = "massact_translated_from"  # the key in a translated configuration that names the class it was
_PICO, _OLMO = "pico_decoder.", "model.transformer."
_PICO_NAMES = {
    "embedding_proj": "model.embed_tokens",
    "output_norm": "model.norm",
    "de_embedding_proj": "lm_head",
    "attention.q_proj": "self_attn.q_proj",
    "attention.k_proj": "self_attn.k_proj",
    "attention.v_proj": "self_attn.v_proj",
    "attention.o_proj": "self_attn.o_proj",
    "swiglu.w_0": "mlp.gate_proj",
    "swiglu.w_1": "mlp.up_proj",
    "swiglu.w_2": "mlp.down_proj",
    "attention_norm": "input_layernorm",
    "swiglu_norm": "post_attention_layernorm",
}
_OLMO_NAMES = {
    "wte": "model.embed_tokens",
    "ln_f": "model.norm",
    "ff_out": "lm_head",
    "attn_out": "self_attn.o_proj",
    "attn_norm": "input_layernorm",
    "ff_norm": "post_attention_layernorm",
}


def as_known_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config.json as that of a class in transformers, with `ORIGIN`; unchanged if the class is none of these."""
    make = _CONFIGS.get(str(config.get("model_type")))
    try:
        made = make(config) if make is not None else None
    except (KeyError, TypeError):  # lacks a number
        made = None
    return {**made, "model_type": "llama", ORIGIN: config["model_type"]} if made else dict(config)


def as_known_tensors(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under the names of the class that `as_known_config` gave; a name that is not known stays."""
    rename = {"pico_decoder": _pico_tensors, "hf_olmo": _olmo_tensors}.get(str(config.get(ORIGIN)))
    if rename is None:
        return dict(tensors)
    return {new: value for name, tensor in tensors.items() for new, value in rename(config, name, tensor)}


def _pico_config(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "vocab_size": config["vocab_size"],
        "hidden_size": config["d_model"],
        "num_hidden_layers": config["n_layers"],
        "num_attention_heads": config["attention_n_heads"],
        "num_key_value_heads": config.get("attention_n_kv_heads") or config["attention_n_heads"],
        "intermediate_size": config["activation_hidden_dim"],
        "rms_norm_eps": config["norm_eps"],
        "max_position_embeddings": config["max_seq_len"],
        "rope_theta": config["position_emb_theta"],
        "tie_word_embeddings": False,
    }


def _olmo_config(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Of the settings of OLMo's first code, those that are a Llama; None for the others."""
    plain = (config.get("block_type", "sequential"), config.get("activation_type"), config.get("layer_norm_type"))
    biased = config.get("include_bias") or config.get("attention_layer_norm") or config.get("clip_qkv")
    if plain != ("sequential", "swiglu", "rms") or biased or config.get("alibi") or not config.get("rope"):
        return None
    width, heads = config["d_model"], config["n_heads"]
    shared = 1 if config.get("multi_query_attention") else heads
    packed = config.get("mlp_hidden_size") or config["mlp_ratio"] * width
    return {
        "vocab_size": config.get("embedding_size") or config["vocab_size"],
        "hidden_size": width,
        "num_hidden_layers": config["n_layers"],
        "num_attention_heads": heads,
        "num_key_value_heads": config.get("n_kv_heads") or shared,
        "intermediate_size": packed // 2,
        "rms_norm_eps": config.get("layer_norm_eps", 1e-5),
        "max_position_embeddings": config["max_sequence_length"],
        "rope_theta": config.get("rope_theta", 10000),
        "tie_word_embeddings": bool(config.get("weight_tying", True)),
    }


def _pico_tensors(config: Mapping[str, Any], name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    part = name.removeprefix(_PICO).removesuffix(".weight")
    prefix = "model."
    if part.startswith("layers."):
        _, layer, part = part.split(".", 2)
        prefix = f"model.layers.{layer}."
    new = _PICO_NAMES.get(part)
    if new is None:
        yield name, tensor
        return
    if part in ("attention.q_proj", "attention.k_proj"):
        tensor = _halves(tensor, int(config["hidden_size"]) // int(config["num_attention_heads"]))
    yield f"{'' if new.startswith(('model.', 'lm_head')) else prefix}{new}.weight", tensor


def _olmo_tensors(config: Mapping[str, Any], name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    part = name.removeprefix(_OLMO).removesuffix(".weight")
    if not part.startswith("blocks."):
        yield (f"{_OLMO_NAMES[part]}.weight" if part in _OLMO_NAMES else name), tensor
        return
    _, layer, part = part.split(".", 2)
    prefix = f"model.layers.{layer}."
    head = int(config["hidden_size"]) // int(config["num_attention_heads"])
    if part == "att_proj":
        shared = int(config["num_key_value_heads"]) * head
        for letter, piece in zip("qkv", tensor.split([int(config["hidden_size"]), shared, shared]), strict=True):
            yield f"{prefix}self_attn.{letter}_proj.weight", piece
    elif part == "ff_proj":  # the second half is the gate
        for which, piece in zip(("up", "gate"), tensor.chunk(2), strict=True):
            yield f"{prefix}mlp.{which}_proj.weight", piece
    elif part == "ff_out":
        yield f"{prefix}mlp.down_proj.weight", tensor
    else:
        yield (f"{prefix}{_OLMO_NAMES[part]}.weight" if part in _OLMO_NAMES else name), tensor


def _halves(tensor: Tensor, head: int) -> Tensor:
    """Rows of each head from pairs (0 1)(2 3), which one rotation turns, to halves (0 2)(1 3), as Llama has them."""
    rows, columns = tensor.shape
    return tensor.reshape(rows // head, head // 2, 2, columns).transpose(1, 2).reshape(rows, columns)


_CONFIGS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any] | None]] = {
    "pico_decoder": _pico_config,
    "hf_olmo": _olmo_config,
}
