"""The results of a designed suite: the effect of each factor on the spike, and the share of chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from massact._lazy import lazy

if TYPE_CHECKING:
    from massact.findings.figures import suite_figures
    from massact.findings.page import HEAD, findings_page

__all__ = ["HEAD", "findings_page", "suite_figures"]
__getattr__, __dir__ = lazy(__name__, {"HEAD": "page", "findings_page": "page", "suite_figures": "figures"})
