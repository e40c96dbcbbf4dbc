"""The inputs most tests of the report share."""

from __future__ import annotations

import pytest

from massact.report import ReportInputs
from tests.report.synthetic import make_inputs


@pytest.fixture(scope="session")
def inputs() -> ReportInputs:
    return make_inputs()
