"""Load a folder in Hugging Face format as a TransformerBridge with a bit-identical residual stream."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from massact.checkpoints.build import load_model
from massact.checkpoints.files import read_config
from massact.checkpoints.native import keep_native
from massact.checkpoints.source import CheckpointStatus, SourceError
from massact.checkpoints.tensors import first_line, too_large
from massact.host import out_of_memory

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedTokenizerFast

# Names of one quantity in config.json (GPT-2 has its own) and in the bridge's configuration.
_CHECKED = ((("num_hidden_layers", "n_layer"), "n_layers"), (("hidden_size", "n_embd"), "d_model"))


def load_bridge(
    folder: Path, dtype: str = "float32", device: str = "cpu", *, trusted: bool = False
) -> TransformerBridge:
    """Load weights into their own class, then wrap it. Nothing is folded, centred or fetched.

    The model keeps its own sdpa attention (`native.keep_native`), so there are no hook points inside attention. The
    bridge gets the folder's tokenizer, or an empty one if the folder has none.

    Parameters
    ----------
    folder
        Holds config.json and the weights.
    dtype
        Number format of weights and forward pass. The file's own format is ignored: small Pythias overflow in float16.
    trusted
        Whether code in the folder may run if its config.json asks for it.

    Raises
    ------
    SourceError
        `corrupt` when a file cannot be read; `load_failed` when tensors are missing, unexpected or of another shape,
        when the model does not match its config.json, or when config.json asks for its own code.
    ConfigError
        An unknown dtype.
    """
    return wrap_loaded(load_model(folder, dtype, trusted=trusted), folder, dtype, device)


def wrap_loaded(model: Any, folder: Path, dtype: str, device: str) -> TransformerBridge:
    """Wrap a model loaded from a folder, with the folder's tokenizer, and check it against the folder's config.json."""
    config = read_config(folder)
    tokenizer = load_tokenizer(folder) if (folder / "tokenizer.json").is_file() else None
    bridge = wrap_model(model, str(folder), dtype=dtype, device=device, tokenizer=tokenizer)
    for names, attribute in _CHECKED:
        expected = next((config[name] for name in names if name in config), None)
        actual = getattr(bridge.cfg, attribute)
        if expected is not None and expected != actual:
            raise SourceError(
                CheckpointStatus.LOAD_FAILED, f"{folder}: config.json says {attribute} {expected}, loaded {actual}"
            )
    return bridge


def wrap_model(
    model: Any, name: str, *, dtype: str, device: str, tokenizer: PreTrainedTokenizerFast | None = None
) -> TransformerBridge:
    """A loaded Hugging Face model as a bridge. This rewrites the model in place: never pass one in training.

    Raises
    ------
    SourceError
        `load_failed` when TransformerLens cannot make a bridge, whatever it raised. The model may be partly rewritten
        and must not be used any more.
    OutOfMemoryError
        When it does not fit into memory.
    """
    import torch
    from transformer_lens.model_bridge import TransformerBridge

    keep_native(type(model).__name__)
    model = placed(model, Path(name), device)
    try:
        return TransformerBridge.boot_transformers(
            name,
            hf_model=model,
            tokenizer=tokenizer if tokenizer is not None else _stand_in_tokenizer(),
            dtype=getattr(torch, dtype),
            device=device,
        )
    except Exception as error:  # adapters can fail on unexpected modules in any way
        if out_of_memory(error):
            raise too_large(Path(name)) from None
        raise SourceError(
            CheckpointStatus.LOAD_FAILED,
            f"TransformerLens cannot build a bridge for {type(model).__name__} "
            f"({type(error).__name__}: {first_line(error)})",
            "pass the plain model to massact.extract.measure",
        ) from None


def placed(model: Any, folder: Path, device: str) -> Any:
    """The model on a device.

    Raises
    ------
    OutOfMemoryError
        When it does not fit there.
    """
    try:
        return model.to(device)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise too_large(folder) from None


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The folder's tokenizer.json, with the special tokens from its tokenizer_config.json.

    Raises
    ------
    SourceError
        `load_failed` when there is none or it cannot be read.
    """
    from transformers import PreTrainedTokenizerFast

    if not (folder / "tokenizer.json").is_file():
        raise SourceError(CheckpointStatus.LOAD_FAILED, f"{folder} has no tokenizer.json", "copy one from another step")
    try:
        return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the tokenizers library raises bare Exception
        first = first_line(error)
        raise SourceError(
            CheckpointStatus.LOAD_FAILED, f"{folder / 'tokenizer.json'} is not a tokenizer ({first})"
        ) from None


def _stand_in_tokenizer() -> PreTrainedTokenizerFast:
    """An empty tokenizer: without one, a bridge would look on the Hub."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))
