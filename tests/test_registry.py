import logging
import subprocess
import sys
from dataclasses import dataclass

import pytest

from massact.errors import ConfigError, FitError
from massact.pipeline import STAGES, Stage
from massact.predict.regressors import REGRESSORS, Regressor
from massact.registry import Registry, instance_of


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
        (Thing("one"), "a thing named 'one' already exists"),
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
        assert things["one"] and [thing.name for thing in things.registered] == ["one"]
        assert "others" not in sys.modules
        assert things["three"].name == "three"
        assert list(things) == ["one", "three", "four"]
    assert "thing bad of others:bad is ignored" in caplog.text and "thing gone of others:gone" in caplog.text
    sys.modules.pop("others", None)


def test_an_object_of_another_class_does_not_state_the_class():
    things = Registry("thing", "massact.things", [], instance_of(Thing), FitError)
    with pytest.raises(FitError, match=r"the thing 3 does not state the class tests\.test_registry\.Thing"):
        things.register(3)


@pytest.mark.parametrize(
    ("registered", "known", "error"),
    [(STAGES, Stage(name="report"), "stage"), (REGRESSORS, Regressor(name="ridge", make=int), "regressor")],
)
def test_stages_and_regressors_keep_their_names(registered, known, error):
    with pytest.raises(ConfigError, match=f"a {error} named '{known.name}' already exists"):
        registered.register(known)


def test_looking_up_a_known_name_and_asking_for_help_load_no_other_package():
    code = (
        "import sys\nfrom massact.pipeline import help_text, stage_named\n"
        "from massact.predict.regressors import regressor_named\n"
        "stage_named('report'), help_text(), regressor_named('ridge')\n"
        "sys.exit(bool({'importlib.metadata', 'numpy', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
