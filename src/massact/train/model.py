"""GPT-NeoX of a given architecture with Pythia's initialisation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from massact.architecture import Architecture

if TYPE_CHECKING:
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM


def hf_config(architecture: Architecture) -> GPTNeoXConfig:
    """The Hugging Face configuration of an architecture; <|endoftext|> has id 0."""
    from transformers import GPTNeoXConfig

    return GPTNeoXConfig(
        num_hidden_layers=architecture.n_layers,
        hidden_size=architecture.d_model,
        num_attention_heads=architecture.n_heads,
        intermediate_size=architecture.d_mlp,
        vocab_size=architecture.vocab_size,
        max_position_embeddings=architecture.context,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": architecture.rotary_base,
            "partial_rotary_factor": architecture.rotary_fraction,
        },
        use_parallel_residual=architecture.parallel_residual,
        bos_token_id=0,
        eos_token_id=0,
        tie_word_embeddings=False,
        hidden_act="gelu",
        layer_norm_eps=1e-5,
    )


def build_model(architecture: Architecture, seed: int) -> GPTNeoXForCausalLM:
    """A model with Pythia's initialisation: small-init, and wang-init for the two projections into the residual stream.

    Standard deviations: sqrt(2 / (5 d)) (Nguyen and Salazar 2019) and 2 / (L sqrt(d)) (Wang and Komatsuzaki 2021),
    as in GPT-NeoX's `init_functions`; biases 0, norms 1.
    """
    from transformers import GPTNeoXForCausalLM

    model = GPTNeoXForCausalLM(hf_config(architecture))
    generator = torch.Generator().manual_seed(seed)
    small = math.sqrt(2 / (5 * architecture.d_model))
    wang = 2 / (architecture.n_layers * math.sqrt(architecture.d_model))
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if parameter.ndim < 2:
                parameter.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
            else:
                writes = name.endswith(("attention.dense.weight", "mlp.dense_4h_to_h.weight"))
                parameter.normal_(0.0, wang if writes else small, generator=generator)
    return model
