"""The folders of `massact measure`: what it and `massact.live` write, and `massact report` reads."""

from __future__ import annotations

RESULTS = "massact-results"
RECORDS, EXTRACTED, FITS = "records", "extracted", "fits"
