"""Failures that must not end a training: a warning instead, once for each kind."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager

from massact.errors import MassactError

log = logging.getLogger("massact")


class Warnings:
    """The warnings of a live measurement.

    Parameters
    ----------
    model
        Its name in the log.
    strict
        Raise errors instead.
    """

    def __init__(self, model: str, *, strict: bool) -> None:
        self.model, self.strict = model, strict
        self._kinds: set[str] = set()

    def once(self, kind: str, text: str) -> None:
        """Log one warning for each kind of failure."""
        if kind not in self._kinds:
            self._kinds.add(kind)
            log.warning("live measurement of %s: %s", self.model, text)

    def failed(self, error: Exception, kind: str, text: str) -> None:
        """Log one warning for each kind of failure; raise the error if strict."""
        if self.strict:
            raise error
        self.once(kind, text)

    def forget(self, beginning: str) -> None:
        """Warn again of kinds that begin so."""
        self._kinds = {kind for kind in self._kinds if not kind.startswith(beginning)}

    @contextmanager
    def at_the_end(self, what: str, remedy: str) -> Generator[None, None, None]:
        """Log what failed and the remedy: the end of a training never raises, not even if strict."""
        try:
            yield
        except Exception as error:
            log.warning("%s: %s; %s", what, first_line(error), remedy)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, with its type unless it is a MassactError."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line if isinstance(error, MassactError) else f"{type(error).__name__}: {line}"
