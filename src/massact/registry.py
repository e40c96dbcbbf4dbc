"""Registries: the only list of things of a kind, open to other packages.

A package adds an object by calling `register`, or names it as an entry point of the registry's group in its own
metadata: massact loads that when a name is not among its own, or when all are listed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from massact.errors import MassactError
from massact.names import component

Thing = TypeVar("Thing")
log = logging.getLogger("massact")


class Registry(Mapping[str, Thing], Generic[Thing]):
    """Objects by name, massact's own first.

    Parameters
    ----------
    kind
        What they are, for messages: "form".
    group
        Name of the entry points that other packages declare, each an object or a callable without arguments.
    lacking
        What an object does not state; empty when it is complete.
    error
        Raised with what happened and the remedy.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        own: Sequence[Thing],
        lacking: Callable[[object], list[str]],
        error: type[MassactError],
    ) -> None:
        self.kind, self.group, self._lacking, self._error = kind, group, lacking, error
        self._things: dict[str, Thing] = {}
        self._plugins_loaded = False
        for thing in own:
            self.register(thing)

    def register(self, thing: Thing) -> Thing:
        """Add an object under its `name`; the same name twice is an error.

        Raises
        ------
        MassactError
            Of the registry's class, when the object does not state all that it must, or its name is taken.
        """
        lacking = self._lacking(thing)
        if lacking:
            raise self._error(f"the {self.kind} {thing!r} does not state {', '.join(lacking)}", "state each of them")
        name = component(getattr(thing, "name", ""), f"name of a {self.kind}", self._error)
        if name in self._things:
            raise self._error(f"there is a {self.kind} '{name}' already", "choose another name")
        self._things[name] = thing
        return thing

    def get_named(self, name: str) -> Thing:
        """The object of that name.

        Raises
        ------
        MassactError
            Of the registry's class: unknown name; the nearest known one is named.
        """
        if name not in self:
            near = get_close_matches(str(name).lower(), list(self), n=1, cutoff=0.0)
            raise self._error(f"'{name}' is not a {self.kind}", f"did you mean '{near[0]}'? known: {', '.join(self)}")
        return self[name]

    def __getitem__(self, name: str) -> Thing:
        if name not in self._things:
            self._load_plugins()
        return self._things[name]

    def __contains__(self, name: object) -> bool:
        if name not in self._things:
            self._load_plugins()
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        self._load_plugins()
        return iter(list(self._things))

    def __len__(self) -> int:
        self._load_plugins()
        return len(self._things)

    def _load_plugins(self) -> None:
        """Register what other packages declare. One that fails is named and left out: it must not end a run."""
        if self._plugins_loaded:
            return
        self._plugins_loaded = True
        for plugin in entry_points(group=self.group):
            try:
                thing = plugin.load()
                self.register(thing() if isinstance(thing, type) else thing)
            except Exception as error:  # whatever a foreign package raises
                reason = " ".join(str(error).split()) or type(error).__name__
                log.warning("%s %s of %s is left out: %s", self.kind, plugin.name, plugin.value, reason)
