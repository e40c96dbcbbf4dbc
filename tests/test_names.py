"""One rule for every name that becomes a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from massact.errors import ConfigError, TableError
from massact.names import component, repository, revision, slug

HOSTILE = [
    "",
    ".",
    "..",
    "../x",
    "/etc/x",
    "a/b",
    "a\\b",
    "a b",
    "a\nb",
    "a\0b",
    "a" * 101,
    "é",
    "а",
    "x\u202e",
    "~",
    "$HOME",
    None,
    3,
]


@pytest.mark.parametrize("name", HOSTILE, ids=repr)
def test_an_invalid_path_component_is_refused_in_one_line(name):
    with pytest.raises(TableError, match=r"^table\.parquet: model = .* cannot name a file") as caught:
        component(name, "table.parquet: model", TableError)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isascii()


@given(st.text())
def test_a_slug_is_a_component_and_a_component_is_its_own_slug(name):
    result = slug(name)
    assert component(result, "name") == result
    assert (Path("/a") / result).resolve() == Path("/a") / result


@given(st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}", fullmatch=True))
def test_ordinary_names_pass(name):
    assert component(name, "model.name") == slug(name) == name


def test_repositories_and_revisions():
    assert repository("allenai/OLMo-1B-hf", "model.repository") == "allenai/OLMo-1B-hf"
    assert revision("refs/pr/1", "probe.dataset_revision") == "refs/pr/1"
    for name in ("OLMo", "../x", "a/b/c", "a/..", "/b", "a/", None):
        with pytest.raises(ConfigError):
            repository(name, "model.repository")
    for name in ("../x", "/x", "a//b", "a/../b", ""):
        with pytest.raises(ConfigError):
            revision(name, "probe.dataset_revision")
