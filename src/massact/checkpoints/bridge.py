"""A folder in Hugging Face format as a TransformerBridge whose residual stream is Hugging Face's, bit for bit."""

from __future__ import annotations

import json
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from massact.checkpoints.source import CheckpointStatus, SourceError

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


def load_bridge(folder: Path, *, dtype: str = "float32", device: str = "cpu") -> TransformerBridge:
    """Load weights with their own class, then wrap them; nothing is folded, centred or fetched.

    Parameters
    ----------
    dtype
        Number format of weights and forward pass, e.g. float32; never taken from the file.

    Raises
    ------
    SourceError
        When the weights do not load, or the model is not the one its config.json describes.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as hf_logging

    hf_logging.disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, dtype), attn_implementation="sdpa", local_files_only=True
        )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        first = str(error).strip().splitlines()[0]
        raise SourceError(CheckpointStatus.LOAD_FAILED, f"{folder} does not load ({first})") from None
    bridge = wrap_model(model, str(folder), dtype=dtype, device=device)
    _check(bridge, folder)
    return bridge


def wrap_model(model: Any, name: str, *, dtype: str, device: str) -> TransformerBridge:
    """A loaded Hugging Face model as a bridge. The model is rewritten in place: never one in training."""
    import torch
    from transformer_lens.model_bridge import TransformerBridge

    _register_native_attention()
    return TransformerBridge.boot_transformers(
        name,
        hf_model=model.to(device),
        tokenizer=_stand_in_tokenizer(),
        dtype=getattr(torch, dtype),
        device=device,
    )


def _stand_in_tokenizer() -> Any:
    """An empty tokenizer: massact passes ids, and a bridge given none, or a loaded one, reads files or the Hub."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))


def _check(bridge: TransformerBridge, folder: Path) -> None:
    said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    names = (("num_hidden_layers", "n_layers"), ("hidden_size", "d_model"))
    wrong = {key: said[key] for key, mine in names if key in said and said[key] != getattr(bridge.cfg, mine)}
    if wrong:
        raise SourceError(CheckpointStatus.LOAD_FAILED, f"{folder}: the loaded model has not the {wrong} it should")


@cache
def _register_native_attention() -> None:
    """Keep GPT-NeoX's own sdpa attention: TransformerLens's adapter rebuilds it eagerly to offer pattern hooks.

    That costs a factor of three and moves the residual stream by 1e-6; massact reads no patterns.
    """
    from transformer_lens.factories.architecture_adapter_factory import ArchitectureAdapterFactory
    from transformer_lens.model_bridge.generalized_components import AttentionBridge, LinearBridge
    from transformer_lens.model_bridge.supported_architectures.neox import NeoxArchitectureAdapter

    class NativeNeox(NeoxArchitectureAdapter):
        def __init__(self, cfg: Any) -> None:
            super().__init__(cfg)
            self.cfg.attn_implementation = "sdpa"
            self.component_mapping["blocks"].submodules["attn"] = AttentionBridge(
                name="attention",
                config=self.cfg,
                submodules={"o": LinearBridge(name="dense")},
                maintain_native_attention=True,
                requires_attention_mask=True,
            )

    # The aliases it names are those of q, k and v, which native attention does not offer.
    warnings.filterwarnings("ignore", message=r"(\d+ block h|H)ook alias")
    ArchitectureAdapterFactory.register_adapter("GPTNeoXForCausalLM", NativeNeox)
