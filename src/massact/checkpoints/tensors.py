"""Read the tensors of weight files. All reading is done here, so that the loaded content is the hashed content."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from massact.checkpoints.files import check_index, unreadable
from massact.checkpoints.source import CheckpointStatus, SourceError
from massact.errors import OutOfMemoryError
from massact.host import out_of_memory

if TYPE_CHECKING:
    from torch import Tensor

# Buffers in old files; every class computes these from its configuration.
_COMPUTED = re.compile(
    r".*\.(attention\.bias|attention\.masked_bias|attn\.bias|attn\.masked_bias|rotary_emb\.inv_freq)"
)
FLOATS = ("float64", "float32", "float16", "bfloat16")


def read_tensors(folder: Path, files: Sequence[str]) -> dict[str, Tensor]:
    """All tensors of these weight files, on the host, in the number formats of the files.

    Raises
    ------
    SourceError
        `corrupt` when a file is neither safetensors nor a PyTorch file that holds only named tensors, or when two
        shards hold the same tensor; `unreadable` when the operating system refuses access; `load_failed` when the index
        of sharded weights disagrees.
    OutOfMemoryError
        When they do not fit into memory.
    """
    tensors: dict[str, Tensor] = {}
    shards: dict[str, str] = {}
    for name in files:
        for tensor, value in _file_tensors(folder / name).items():
            if tensor in shards:
                raise SourceError(
                    CheckpointStatus.CORRUPT, f"{folder}: both {shards[tensor]} and {name} hold the tensor {tensor}"
                )
            tensors[tensor], shards[tensor] = value, name
    check_index(folder, files, shards)
    return tensors


def is_computed(name: str) -> bool:
    """Whether a tensor is a buffer in old files that every class computes from its configuration."""
    return _COMPUTED.fullmatch(name) is not None


def is_unembedding(name: str) -> bool:
    """Whether a tensor belongs to the unembedding, by its old or its new name."""
    return name in ("embed_out.weight", "lm_head.weight", "lm_head.bias")


def check_formats(folder: Path, tensors: Mapping[str, Tensor], whole_numbers: Iterable[str] = ()) -> None:
    """Refuse weights in a format that needs further information, such as int8 or float8 without its scales.

    Parameters
    ----------
    whole_numbers
        Tensors that are integers in the model.

    Raises
    ------
    SourceError
        `load_failed`, naming the first such tensor.
    """
    allowed = set(whole_numbers)
    for name, tensor in tensors.items():
        dtype = str(tensor.dtype).removeprefix("torch.")
        if dtype not in FLOATS and name not in allowed and not is_computed(name):
            raise SourceError(
                CheckpointStatus.LOAD_FAILED,
                f"{folder} holds {name} in {dtype}, but no quantization_config that defines its values",
                f"save the weights in {', '.join(FLOATS[1:])}",
            )


def too_large(folder: Path) -> OutOfMemoryError:
    """The error for weights that do not fit into memory."""
    return OutOfMemoryError(
        f"the weights in {folder} do not fit into memory", "use protocol.dtype=bfloat16, or a machine with more memory"
    )


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _file_tensors(path: Path) -> dict[str, Tensor]:
    from torch import Tensor, strided

    try:
        content = _opened(path)
    except OSError as error:
        raise unreadable(path, error) from None
    except Exception as error:  # each format has its own errors, and damaged files cause others
        if out_of_memory(error):
            raise too_large(path.parent) from None
        raise SourceError(CheckpointStatus.CORRUPT, f"{path} cannot be read ({first_line(error)})") from None
    if not isinstance(content, dict):
        raise SourceError(CheckpointStatus.CORRUPT, f"{path} holds a {type(content).__name__}, not tensors by name")
    for name, value in content.items():
        plain = isinstance(value, Tensor) and value.layout == strided and not (value.is_meta or value.is_quantized)
        if not isinstance(name, str) or not plain:
            raise SourceError(
                CheckpointStatus.CORRUPT, f"{path}: {name} is not a plain tensor ({type(value).__name__})"
            )
    return content


def _opened(path: Path) -> Any:
    """The content of a file. Pickled code in it does not run. Only zip archives can be memory-mapped."""
    import torch
    from safetensors.torch import load_file

    if path.name.endswith(".safetensors"):
        return load_file(path)
    with path.open("rb"):  # so that a missing permission is reported as such
        return torch.load(path, map_location="cpu", mmap=zipfile.is_zipfile(path), weights_only=True)
