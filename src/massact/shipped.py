"""What comes with massact: the configuration and the text. Below the package in a wheel, at the top in a checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent
_INSTALLED = _PACKAGE / "conf"
CONF = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parents[1] / "conf"


def corpus_path(place: str) -> Path:
    """The file of the shipped text: the configured place, or the copy that comes with massact in any other folder."""
    shipped = (_PACKAGE / place, _PACKAGE.parents[1] / place)
    return next((path for path in (Path(place), *shipped) if path.is_file()), Path(place))
