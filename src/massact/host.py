"""What a lack of memory looks like, on the host and on a device."""

from __future__ import annotations

_SAID = ("can't allocate memory", "not enough memory", "out of memory")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error tells of memory that ran out; the host's allocator in torch has no type of its own.

    >>> out_of_memory(MemoryError()), out_of_memory(RuntimeError("CUDA out of memory")), out_of_memory(OSError("disk"))
    (True, True, False)
    """
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(said in str(error) for said in _SAID)
    )
