"""A choice of layers as text: `0,3-5,last`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from massact.errors import ConfigError

LAST = "last"
_PART = re.compile(rf"([0-9]{{1,6}}|{LAST})(?:-([0-9]{{1,6}}|{LAST}))?")


def layers_named(text: str, n_layers: int, where: str = "extract.layers") -> list[int]:
    """The 0-based layers that a text names, ascending, each once.

    Parameters
    ----------
    text
        Numbers, ranges with both ends, and `last`, separated by commas.
    n_layers
        Layers of the model.
    where
        The key of the text, for messages.

    Raises
    ------
    ConfigError
        A text of another form, a layer that the model does not have, a range that runs backwards.

    >>> layers_named("0,3-5,last", 12)
    [0, 3, 4, 5, 11]
    """
    chosen: set[int] = set()
    for first, end in _ranges(text, where):
        low, high = (n_layers - 1 if name == LAST else int(name) for name in (first, end))
        for layer in (low, high):
            if layer >= n_layers:
                raise ConfigError(f"{where}: there is no layer {layer}", f"the model has layers 0 to {n_layers - 1}")
        if low > high:
            raise ConfigError(f"{where}: the range {first}-{end} runs backwards", f"write {end}-{first}")
        chosen.update(range(low, high + 1))
    return sorted(chosen)


def check_layers(text: str, where: str = "extract.layers") -> None:
    """Refuse a text that names no layers of any model; errors as in `layers_named`."""
    for first, end in _ranges(text, where):
        if LAST not in (first, end) and int(first) > int(end):
            raise ConfigError(f"{where}: the range {first}-{end} runs backwards", f"write {end}-{first}")


def layers_text(layers: str | Iterable[int | str]) -> str:
    """A choice of layers as text: itself, or numbers and `last` in a list.

    >>> layers_text([0, 2, "last"])
    '0,2,last'
    """
    return layers if isinstance(layers, str) else ",".join(map(str, layers))


def _ranges(text: str, where: str) -> list[tuple[str, str]]:
    """First and last layer of each part of the text."""
    ranges = []
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None:
            shown = ascii(text if len(text) <= 60 else f"{text[:60]}...")
            raise ConfigError(f"{where} = {shown} names no layers", "write numbers, ranges and last, e.g. 0,3-5,last")
        ranges.append((match[1], match[2] or match[1]))
    return ranges
