"""A folder in Hugging Face format as a TransformerBridge whose residual stream is Hugging Face's, bit for bit."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from massact.checkpoints.files import read_config
from massact.checkpoints.native import keep_native
from massact.checkpoints.source import CheckpointStatus, SourceError
from massact.errors import ConfigError, OutOfMemoryError
from massact.host import out_of_memory

if TYPE_CHECKING:
    from torch import nn
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedTokenizerFast

DTYPES = ("float32", "float16", "bfloat16", "float64")
# Names of one quantity in config.json (GPT-2 has its own) and in the bridge's configuration.
_CHECKED = ((("num_hidden_layers", "n_layer"), "n_layers"), (("hidden_size", "n_embd"), "d_model"))


def load_bridge(folder: Path, dtype: str = "float32", device: str = "cpu") -> TransformerBridge:
    """Load weights with their own class, then wrap them; nothing is folded, centred or fetched.

    The model keeps its own sdpa attention (`native.keep_native`), so hook points do not reach inside attention. The
    bridge's tokenizer is the folder's, or an empty one where it has none.

    Parameters
    ----------
    folder
        Holds config.json and the weights.
    dtype
        Number format of weights and forward pass; never taken from the file (float16 overflows in small Pythias).

    Raises
    ------
    SourceError
        `corrupt` when a file cannot be read; `load_failed` when tensors are missing or of another shape, or the
        model is not the one its config.json describes.
    ConfigError
        An unknown dtype.
    """
    return wrap_loaded(load_model(folder, dtype), folder, dtype, device)


def wrap_loaded(model: Any, folder: Path, dtype: str, device: str) -> TransformerBridge:
    """Wrap a model loaded from a folder, with the folder's tokenizer, and hold it to the folder's config.json."""
    config = read_config(folder)
    tokenizer = load_tokenizer(folder) if (folder / "tokenizer.json").is_file() else None
    bridge = wrap_model(model, str(folder), dtype=dtype, device=device, tokenizer=tokenizer)
    for names, mine in _CHECKED:
        said = next((config[name] for name in names if name in config), None)
        found = getattr(bridge.cfg, mine)
        if said is not None and said != found:
            raise SourceError(CheckpointStatus.LOAD_FAILED, f"{folder}: config.json says {mine} {said}, loaded {found}")
    return bridge


def wrap_model(
    model: Any, name: str, *, dtype: str, device: str, tokenizer: PreTrainedTokenizerFast | None = None
) -> TransformerBridge:
    """A loaded Hugging Face model as a bridge. The model is rewritten in place: never one in training.

    Raises
    ------
    SourceError
        `load_failed` when TransformerLens cannot make a bridge of it, whatever it raised; the model may be rewritten
        half-way by then, and is of no more use.
    OutOfMemoryError
        When it does not fit.
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
    except Exception as error:  # adapters meet modules that they do not expect
        if out_of_memory(error):
            raise too_large(Path(name)) from None
        raise SourceError(
            CheckpointStatus.LOAD_FAILED,
            f"TransformerLens makes no bridge of {type(model).__name__} ({type(error).__name__}: {_first(error)})",
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
    """The folder's tokenizer.json, with the special tokens its tokenizer_config.json names.

    Raises
    ------
    SourceError
        `load_failed` when there is none or it cannot be read.
    """
    from transformers import PreTrainedTokenizerFast

    if not (folder / "tokenizer.json").is_file():
        raise SourceError(CheckpointStatus.LOAD_FAILED, f"{folder} has no tokenizer.json", "copy one from another step")
    try:
        return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the tokenizers library raises bare Exception
        first = str(error).strip().splitlines()[0]
        raise SourceError(
            CheckpointStatus.LOAD_FAILED, f"{folder / 'tokenizer.json'} is no tokenizer ({first})"
        ) from None


def load_model(folder: Path, dtype: str) -> nn.Module:
    """The model by its own class, every one of its tensors read from the folder; errors as in `load_bridge`."""
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as hf_logging

    if dtype not in DTYPES:
        raise ConfigError(f"dtype {dtype} is not known", f"choose one of {', '.join(DTYPES)}")
    read_config(folder)
    hf_logging.disable_progress_bar()
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, dtype), local_files_only=True, output_loading_info=True
        )
    except (SafetensorError, pickle.UnpicklingError, EOFError) as error:
        raise SourceError(CheckpointStatus.CORRUPT, f"weights in {folder} cannot be read ({_first(error)})") from None
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, MemoryError) as error:
        if out_of_memory(error):
            raise too_large(folder) from None
        raise SourceError(CheckpointStatus.LOAD_FAILED, f"{folder} does not load ({_first(error)})") from None
    model, found = loaded
    absent = sorted(map(str, [*found["missing_keys"], *found["mismatched_keys"]]))
    if absent:
        raise SourceError(
            CheckpointStatus.LOAD_FAILED,
            f"{folder} lacks {len(absent)} tensors of the model its config.json describes, e.g. {absent[0]}",
        )
    return model


def too_large(folder: Path) -> OutOfMemoryError:
    """The error for weights that memory does not hold."""
    return OutOfMemoryError(
        f"the weights in {folder} do not fit into memory", "take protocol.dtype=bfloat16, or a machine with more"
    )


def _first(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _stand_in_tokenizer() -> PreTrainedTokenizerFast:
    """An empty tokenizer: a bridge given none looks for one on the Hub."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))
