"""Import all that a sweep imports, so that kills hit the sweep and not its imports."""

# ruff: noqa: F401
import huggingface_hub._snapshot_download
import huggingface_hub.hf_api
import safetensors.torch
import transformer_lens.model_bridge
import transformers.models.auto.modeling_auto
import transformers.models.gpt_neox.modeling_gpt_neox
import transformers.tokenization_utils_tokenizers

import massact.checkpoints.audit
import massact.checkpoints.bridge
import massact.checkpoints.hub
import massact.checkpoints.native
import massact.checkpoints.weights
import massact.extract.hooks
