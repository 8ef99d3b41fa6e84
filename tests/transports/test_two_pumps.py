"""The blocking pump is the asynchronous one without its two keywords and with other types."""

from __future__ import annotations

import re
from pathlib import Path

import transports

HERE = Path(transports.__file__).parent


def test_the_two_pumps_are_one_text() -> None:
    text = (HERE / "pump.py").read_text()
    assert re.sub(r"\b(async |await )", "", text).replace("Async", "Sync") == (HERE / "pump_sync.py").read_text()
