"""Read parts of a safetensors file, its header and some values, from this disk or by HTTP range requests."""

from __future__ import annotations

import http.client
import json
import math
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float

# (offset, length) -> the bytes there; fewer at the end of the file, None if they cannot be read.
Reader = Callable[[int, int], bytes | None]

RANGE_TIMEOUT_S = 10.0
FIRST_BYTES = 1 << 16  # enough for the header of most files
_LONGEST_HEADER = 1 << 24
_LENGTH_BYTES = 8
_ITEM_BYTES = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8}


@dataclass(frozen=True)
class Stored:
    """The position of a tensor in its file: `begin` and `end` are byte offsets from the start of the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def file_reader(path: Path) -> Reader:
    """Reader of a file on this disk."""

    def read(begin: int, length: int) -> bytes | None:
        try:
            if not path.is_file():
                return None
            with path.open("rb") as file:
                file.seek(begin)
                return file.read(length)
        except OSError:
            return None

    return read


def hub_reader(endpoint: str, repo_id: str, commit: str, name: str) -> Reader:
    """Reader of a file on the Hub, without a download. It returns None if the server has no range requests."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    url = hf_hub_url(repo_id, name, revision=commit, endpoint=endpoint)
    headers = build_hf_headers()

    def read(begin: int, length: int) -> bytes | None:
        request = urllib.request.Request(url, headers={"Range": f"bytes={begin}-{begin + length - 1}"})
        for key, value in headers.items():  # another host serves the file and must not receive the token
            request.add_unredirected_header(key, value)
        try:
            with urllib.request.urlopen(request, timeout=RANGE_TIMEOUT_S) as answer:
                content_range = str(answer.headers.get("Content-Range", ""))
                if answer.status != http.client.PARTIAL_CONTENT or not content_range.startswith(f"bytes {begin}-"):
                    return None  # the server is sending the whole file: do not read it
                return answer.read(length)
        except (OSError, ValueError, http.client.HTTPException):
            return None

    return read


def read_header(read: Reader, first_bytes: int = FIRST_BYTES) -> dict[str, Stored] | None:
    """Tensors of a safetensors file by name; None if it cannot be read or is not such a file."""
    first = read(0, first_bytes)
    if first is None or len(first) < _LENGTH_BYTES:
        return None
    length = int.from_bytes(first[:_LENGTH_BYTES], "little")
    if not 0 < length <= _LONGEST_HEADER:
        return None
    text, missing = first[_LENGTH_BYTES : _LENGTH_BYTES + length], length + _LENGTH_BYTES - len(first)
    if missing > 0:
        text += read(len(first), missing) or b""
    return parse_header(text) if len(text) == length else None


def parse_header(text: bytes) -> dict[str, Stored] | None:
    """Tensors by name, from the JSON of a header; None if it is not a header.

    >>> parse_header(b'{"w": {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]}}')["w"].shape
    (2, 3)
    >>> parse_header(b"[]") is None
    True
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    start = _LENGTH_BYTES + len(text)
    tensors = {}
    for name, entry in content.items():
        if name == "__metadata__":
            continue
        stored = _stored(entry, start)
        if stored is None:
            return None
        tensors[name] = stored
    return tensors


def read_values(
    read: Reader, stored: Stored, *, first: int = 0, most: int | None = None
) -> Float[np.ndarray, "n"] | None:
    """Values of a tensor in storage order, as float64.

    Parameters
    ----------
    first
        Number of values to skip.
    most
        Largest number of values to read; None: all.

    Returns
    -------
    None if they cannot be read or are not floating-point numbers of a known type.
    """
    import numpy as np

    size = _ITEM_BYTES.get(stored.dtype)
    if size is None or (stored.end - stored.begin) != size * math.prod(stored.shape):
        return None
    count = max(0, math.prod(stored.shape) - first)
    count = count if most is None else min(count, most)
    raw = read(stored.begin + first * size, count * size) if count else b""
    if raw is None or len(raw) != count * size:
        return None
    if stored.dtype == "BF16":
        return (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4").astype(np.float64)
    return np.frombuffer(raw, f"<f{size}").astype(np.float64)


def _stored(entry: object, start: int) -> Stored | None:
    if not isinstance(entry, Mapping):
        return None
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or not _whole(shape) or not _whole(offsets) or len(offsets) != 2:
        return None
    begin, end = offsets
    return Stored(dtype, tuple(shape), start + begin, start + end) if begin <= end else None


def _whole(numbers: object) -> TypeGuard[list[int]]:
    return isinstance(numbers, list) and all(type(n) is int and 0 <= n < 2**62 for n in numbers)
