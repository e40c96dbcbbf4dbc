"""docs/suites.md says what conf/model/ and the code say."""

from __future__ import annotations

import importlib.util

from tests.suites import CONF

TOOL = CONF.parent / "tools/suites.py"


def test_the_table_of_suites_is_up_to_date():
    spec = importlib.util.spec_from_file_location("suites_tool", TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.DOCUMENT.read_text(encoding="utf-8") == tool.document(), "make it again with: python tools/suites.py"
