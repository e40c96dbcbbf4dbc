"""Registries: each is the only list of one kind of object, and other packages can add to it.

A package adds an object by calling `register`, or declares an entry point in the registry's group. Entry points are
loaded only when an unknown name is looked up or the whole registry is listed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
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
        The noun for messages, e.g. "form".
    group
        The group of entry points that other packages declare. Each names an object, or a class without arguments.
    own
        massact's own objects.
    lacking
        Returns the members that an object does not state; none if it is complete.
    error
        The exception type.
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
        """Add an object under its `name`, and return it.

        Raises
        ------
        MassactError
            Of the registry's type: the object is incomplete, or its name is taken.
        """
        lacking = self._lacking(thing)
        if lacking:
            raise self._error(f"the {self.kind} {thing!r} does not state {', '.join(lacking)}", "state each of them")
        name = component(getattr(thing, "name", ""), f"name of a {self.kind}", self._error)
        if name in self._things:
            raise self._error(f"a {self.kind} named '{name}' already exists", "choose another name")
        self._things[name] = thing
        return thing

    def get_named(self, name: str) -> Thing:
        """The object of that name.

        Raises
        ------
        MassactError
            Of the registry's type: the name is unknown. The message suggests the nearest one.
        """
        if name not in self:
            near = get_close_matches(str(name).lower(), list(self), n=1, cutoff=0.0)
            raise self._error(f"'{name}' is not a {self.kind}", f"did you mean '{near[0]}'? known: {', '.join(self)}")
        return self[name]

    @property
    def registered(self) -> tuple[Thing, ...]:
        """The objects registered so far. Unlike iteration, this loads no entry points."""
        return tuple(self._things.values())

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
        """Register the objects of other packages. One that fails is left out with a warning: it must not end a run."""
        if self._plugins_loaded:
            return
        self._plugins_loaded = True
        from importlib.metadata import entry_points  # takes 50 ms, which printing help must not

        for plugin in entry_points(group=self.group):
            try:
                thing = plugin.load()
                self.register(thing() if isinstance(thing, type) else thing)
            except Exception as error:  # whatever a foreign package raises
                reason = " ".join(str(error).split()) or type(error).__name__
                log.warning("%s %s of %s is ignored: %s", self.kind, plugin.name, plugin.value, reason)


def instance_of(kind: type) -> Callable[[object], list[str]]:
    """The `lacking` of a registry whose objects are complete once they are instances of a class."""
    return lambda thing: [] if isinstance(thing, kind) else [f"the class {kind.__module__}.{kind.__name__}"]
