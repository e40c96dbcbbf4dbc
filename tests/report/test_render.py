"""Templates escape what they are given, and refuse to run without a value they need."""

from __future__ import annotations

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from massact.report.render import code, render


def test_values_are_escaped_and_markup_is_not():
    section = {"figures": [(None, ("<b>", "eq9", Markup("a <i>b</i>")), False)]}
    text = render("predictions.html.j2", s=section, figure=lambda drawing, alt, caller: caller())
    assert "a <i>b</i>, Eq. 9, recipe &lt;b&gt;: out-of-sample" in text
    assert code("<a>") == "<code>&lt;a&gt;</code>"


def test_a_value_that_is_not_given_is_an_error():
    with pytest.raises(UndefinedError, match="'s' is undefined"):
        render("maps.html.j2")
