"""Whoever makes a retry table of its own begins with the common cells, however late: `retry_table()` is asked anew."""

from __future__ import annotations

import pytest

from sans_io.policy.retry import RetryClass, retry_table
from tests.policy.test_retry_tables import CODES, EVENTS, FAULTS, STATUSES

COLUMNS: dict[str, dict[object, str]] = {
    "statuses": {**STATUSES},
    "codes": {**CODES},
    "events": {**EVENTS},
    "faults": {**FAULTS},
}
CELLS = [(column, key) for column, cells in COLUMNS.items() for key in cells]


@pytest.mark.parametrize(("column", "key"), CELLS, ids=str)
def test_a_common_cell(column: str, key: object) -> None:
    assert getattr(retry_table(), column)[key] == COLUMNS[column][key]


@pytest.mark.parametrize("column", COLUMNS)
def test_no_common_cell_beyond_those(column: str) -> None:
    assert set(getattr(retry_table(), column)) == set(COLUMNS[column])


@pytest.mark.parametrize("retry_class", ["A", "B", "B1", "C", "D", "E", "E1"])
def test_one_cell_of_ones_own_leaves_the_others_alone(retry_class: RetryClass) -> None:
    table = retry_table(statuses={418: retry_class})
    assert dict(table.statuses) == {**STATUSES, 418: retry_class}
    assert (dict(table.codes), dict(table.events), dict(table.faults)) == (CODES, EVENTS, FAULTS)
