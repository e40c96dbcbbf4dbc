import logging
import sys
from dataclasses import dataclass

import pytest

from massact.errors import FitError
from massact.registry import Registry


@dataclass
class Thing:
    name: str
    size: int | None = 1


def lacking(thing) -> list[str]:
    return [] if getattr(thing, "size", None) else ["size"]


def registry(group="massact.things"):
    return Registry("thing", group, [Thing("one")], lacking, FitError)


def test_what_is_registered_is_listed_in_order_and_had_by_name():
    things = registry()
    two = things.register(Thing("two"))
    assert list(things) == ["one", "two"] and things["two"] is two and len(things) == 2
    assert things.get_named("one").name == "one"


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (Thing("two", None), "does not state size"),
        (Thing("one"), "there is a thing 'one' already"),
        (Thing("../two"), "cannot name a file"),
        (Thing(""), "cannot name a file"),
        (object(), "does not state size"),
    ],
)
def test_what_is_incomplete_or_taken_is_refused(thing, message):
    things = registry()
    with pytest.raises(FitError, match=message):
        things.register(thing)
    assert list(things) == ["one"]


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(FitError, match=r"'on' is not a thing.*\n?.*did you mean 'one'"):
        registry().get_named("on")
    with pytest.raises(KeyError):
        registry()["on"]
    assert "on" not in registry()


def test_other_packages_declare_theirs_and_one_that_fails_is_left_out(tmp_path, monkeypatch, caplog):
    (tmp_path / "others.py").write_text(
        "from tests.test_registry import Thing\nthree = Thing('three')\nclass Four(Thing):\n"
        "    def __init__(self): super().__init__('four')\nbad = Thing('bad', None)\n"
    )
    package = tmp_path / "others-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(
        "[massact.tried]\nthree = others:three\nfour = others:Four\nbad = others:bad\ngone = others:gone\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with caplog.at_level(logging.WARNING):
        things = registry("massact.tried")
        assert things["three"].name == "three"
        assert list(things) == ["one", "three", "four"]
    assert "thing bad of others:bad is left out" in caplog.text and "thing gone of others:gone" in caplog.text
    sys.modules.pop("others", None)
