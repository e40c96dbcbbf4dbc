"""TransformerLens's adapters with Hugging Face's own attention, so that the residual stream stays bit-identical."""

from __future__ import annotations

from functools import cache
from typing import Any


def known(architecture: str) -> bool:
    """Whether TransformerLens has an adapter for a class."""
    from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES

    return architecture in SUPPORTED_ARCHITECTURES


@cache
def keep_native(architecture: str) -> None:
    """Make bridges of an architecture keep the model's own sdpa attention and norms.

    TransformerLens's adapters replace attention by an eager version that offers pattern hooks. This takes
    three times as long and changes the residual stream by 1e-6. They also compute every norm twice to offer its scale.
    massact reads neither. An adapter with another structure is left unchanged.
    """
    from transformer_lens.factories.architecture_adapter_factory import (
        SUPPORTED_ARCHITECTURES,
        ArchitectureAdapterFactory,
    )

    base = SUPPORTED_ARCHITECTURES.get(architecture)
    if base is not None:
        ArchitectureAdapterFactory.register_adapter(architecture, _native(base))


def _native(base: type[Any]) -> type[Any]:
    from transformer_lens.model_bridge.generalized_components import NormalizationBridge
    from transformer_lens.model_bridge.generalized_components.base import GeneralizedComponent

    class Native(base):
        def __init__(self, cfg: Any) -> None:
            super().__init__(cfg)
            blocks: Any = (self.component_mapping or {}).get("blocks")
            attention = getattr(blocks, "submodules", {}).get("attn")
            if attention is None or "o" not in attention.submodules:
                return
            self.cfg.attn_implementation = "sdpa"
            blocks.submodules["attn"] = _own_attention(attention, self.cfg)
            for parts in (blocks.submodules, self.component_mapping):
                for name, part in parts.items():
                    if isinstance(part, NormalizationBridge):
                        parts[name] = GeneralizedComponent(part.name, part.config, optional=part.optional)

    Native.__name__ = f"Native{base.__name__}"
    return Native


def _own_attention(attention: Any, cfg: Any) -> Any:
    from transformer_lens.model_bridge.generalized_components import AttentionBridge, LinearBridge

    return AttentionBridge(
        name=attention.name,
        config=cfg,
        submodules={"o": LinearBridge(name=attention.submodules["o"].name)},
        maintain_native_attention=True,
        requires_attention_mask=True,
        fused_qkv=True,  # no hook points for q, k and v
    )
