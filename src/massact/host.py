"""Recognise out-of-memory errors, on the host and on a device."""

from __future__ import annotations

_MESSAGES = ("can't allocate memory", "not enough memory", "out of memory")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out. Torch's allocator on the host has no exception type for it.

    >>> out_of_memory(MemoryError()), out_of_memory(RuntimeError("CUDA out of memory")), out_of_memory(OSError("disk"))
    (True, True, False)
    """
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(message in str(error) for message in _MESSAGES)
    )
