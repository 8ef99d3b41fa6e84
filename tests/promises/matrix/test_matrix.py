"""Thirteen phases, twelve faults, four modes: every cell of the table on real sockets. The page in docs is its record."""

from __future__ import annotations

import pytest

from tests.callers import MODES
from tests.promises.matrix.report import PAGE, page, run_all
from tests.promises.matrix.table import CELLS, FAULTS, LAYER, NO_BYTES, PHASES

FILLED = [cell for cell in CELLS if cell.impossible is None]


@pytest.fixture(scope="module")
def runs() -> dict:
    return run_all()


def test_every_cell_is_there_once_and_at_most_a_third_is_impossible() -> None:
    assert sorted((cell.phase, cell.fault) for cell in CELLS) == sorted((p, f) for p in PHASES for f in FAULTS)
    assert len(CELLS) - len(FILLED) <= len(CELLS) / 3


def test_impossible_cells_name_one_of_the_three_reasons() -> None:
    places = {str(cell) for cell in FILLED}
    for cell in CELLS:
        if cell.impossible not in (None, LAYER, NO_BYTES):
            assert cell.impossible.removeprefix("equal to ") in places, cell


@pytest.mark.serial
@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("cell", FILLED, ids=str)
def test_cell(cell, mode, runs: dict) -> None:
    assert runs[cell.phase, cell.fault, str(mode)].complaints() == []


@pytest.mark.serial
@pytest.mark.slow
def test_the_page_is_the_record_of_this_run(runs: dict) -> None:
    assert PAGE.read_text(encoding="utf-8") == page(runs), "run `python -m tests.promises.matrix.report`"
