"""Retryability cell by cell: the tables are written out once more here, so that a changed cell fails under its name.

A transparent, B transient, B1 transient once, C throttled, D fatal, E ambiguous, E1 ambiguous once: docs/reliability.md.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sans_io.http.server_hints import http_date, retry_after, should_retry
from sans_io.policy.retry import (
    COSTS,
    HINTED_COST,
    MAY_HAVE_RUN,
    Again,
    RetryBudget,
    RetryClass,
    RetryPolicy,
    RetryState,
    RetryTable,
    Stop,
    retry_table,
)
from sans_io.providers.anthropic import codec as anthropic
from sans_io.providers.ollama import codec as ollama
from sans_io.providers.openai_chat import codec as openai

STATUSES = {
    400: "D", 401: "D", 402: "D", 403: "D", 404: "D", 408: "B", 409: "D", 413: "D", 422: "D", 429: "C", 498: "C",
    500: "B", 502: "E", 503: "B", 504: "E", 520: "B", 521: "B", 522: "B", 523: "B", 524: "E", 529: "C", 530: "B",
}  # fmt: skip
CODES = {
    "insufficient_quota": "D", "quota": "D", "content_filter": "D", "context_length_exceeded": "D", "overloaded": "C",
    "overloaded_error": "C", "rate_limit_error": "C", "rate_limit_exceeded": "C", "slow_down": "C",
}  # fmt: skip
EVENTS = {"api_error": "B", "server_error": "B", "timeout_error": "E"}
FAULTS = {
    "refused": "A", "unreachable": "A", "connect_reset": "A", "connect_timeout": "A", "dns_temporary": "A",
    "tls_failed": "A", "stale": "A", "dns_failed": "D", "tls_verify": "D", "proxy_refused": "D", "too_many_files": "D",
    "pool_timeout": "D", "pool_closed": "D", "auth_callable": "D", "local": "D", "write_failed": "B",
    "write_timeout": "B", "no_reply": "E", "first_token": "E", "truncated": "E1", "garbled": "E1", "oversize": "E1",
    "wrong_type": "E1", "idle": "E", "redirect": "D", "deadline": "D", "cancelled": "D",
}  # fmt: skip
QUOTA = dict.fromkeys(
    (
        "quota_exceeded", "credit_balance_exhausted", "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded", "organization_usage_limit_exceeded", "billing_hard_limit_reached",
        "billing_not_active", "billing_error", "enforced_spend_limit_reached", "contract_spend_limit_reached",
        "insufficient_balance", "insufficient_credits", "payment_required", "arrearage", "insufficientquota",
        "account_deactivated_for_nonpayment", "exceeded_current_quota_error", "credits_exhausted",
    ),
    "D",
)  # fmt: skip

TABLES: dict[str, tuple[RetryTable, dict, dict, dict, dict]] = {
    "common": (retry_table(), STATUSES, CODES, EVENTS, FAULTS),
    "openai": (openai.RETRY_TABLE, {**STATUSES, 409: "B1"}, {**CODES, **QUOTA}, EVENTS, FAULTS),
    "anthropic": (
        anthropic.RETRY_TABLE,
        STATUSES,
        {**CODES, **QUOTA, "conflict_error": "D"},
        {**EVENTS, "internal_server_error": "B"},
        FAULTS,
    ),
    "ollama": (ollama.RETRY_TABLE, STATUSES, {**CODES, **QUOTA}, EVENTS, FAULTS),
}
CELLS = [
    (name, kind, key, wanted)
    for name, (_, *columns) in TABLES.items()
    for kind, column in zip(("statuses", "codes", "events", "faults"), columns, strict=True)
    for key, wanted in column.items()
]


@pytest.mark.parametrize(("table", "kind", "key", "wanted"), CELLS, ids=lambda value: str(value))
def test_cell(table: str, kind: str, key: object, wanted: str) -> None:
    assert getattr(TABLES[table][0], kind)[key] == wanted


@pytest.mark.parametrize("table", TABLES)
def test_no_cell_beyond_those_written_here(table: str) -> None:
    made, *columns = TABLES[table]
    assert [set(made.statuses), set(made.codes), set(made.events), set(made.faults)] == [set(each) for each in columns]


@pytest.mark.parametrize("table", TABLES)
def test_a_table_cannot_be_changed(table: str) -> None:
    made = TABLES[table][0]
    for column in (made.statuses, made.codes, made.events, made.faults):
        with pytest.raises(TypeError):
            column["x"] = "A"  # type: ignore[index]


@pytest.mark.parametrize("status", range(100, 600))
def test_statuses_nobody_wrote_down(status: int) -> None:
    wanted = STATUSES.get(status, "B" if status >= 500 else "D")
    assert retry_table().of_reply(status, None, None) == wanted


def test_a_code_wins_over_the_type_and_both_over_the_status() -> None:
    table = retry_table()
    assert table.of_reply(429, "insufficient_quota", "rate_limit_error") == "D"
    assert table.of_reply(429, None, "insufficient_quota") == "D"
    assert table.of_reply(400, "overloaded", "content_filter") == "C"
    assert table.of_reply(503, "what nobody knows", "nor this") == "B"
    assert table.of_reply(None, "nobody knows", None) == "D"
    assert table.of_reply(None, "nobody knows", "quota") == "D"
    assert table.of_fault("nobody knows") == "D"


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("word", ["code", "type"])
def test_words_that_say_only_that_it_failed_count_in_an_event_and_not_beside_a_status(table: str, word: str) -> None:
    made, statuses, _, events, _ = TABLES[table]
    for name, wanted in events.items():
        code, error_type = (name, None) if word == "code" else ("nobody knows", name)
        assert made.of_reply(None, code, error_type) == wanted
        assert made.of_reply(200, code, error_type) == wanted
        for status, by_itself in statuses.items():
            assert made.of_reply(status, code, error_type) == by_itself


# -- what a server says --------------------------------------------------------------------------------------------------

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
NOW = 784_111_777.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": " 2 "}, 2.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"x-ms-retry-after-ms": "250"}, 0.25),
        ({"retry-after": "2", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "2", "x-ms-retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "soon", "x-ms-retry-after-ms": "100", "retry-after": "9"}, 0.1),
        ({"retry-after-ms": "-1", "retry-after": "9"}, 9.0),
        ({"retry-after": DATE, "date": "Sun, 06 Nov 1994 08:49:07 GMT"}, 30.0),
        ({"retry-after": "Sunday, 06-Nov-94 08:49:37 GMT", "date": DATE}, 0.0),
        ({"retry-after": "Sun Nov  6 08:49:47 1994", "date": DATE}, 10.0),
        ({"retry-after": DATE, "date": "Sun, 06 Nov 1994 08:49:38 GMT"}, None),
        ({"retry-after": DATE, "date": "yesterday"}, None),
        ({"retry-after": DATE}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "+5"}, None),
        ({"retry-after": "1e3"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after": "1_0"}, None),
        ({"retry-after": "0x10"}, None),
        ({"retry-after": "1" * 33}, None),
        ({"date": DATE}, None),
        ({}, None),
    ],
)
def test_retry_after_in_every_form(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(tuple(headers.items())) == seconds


def test_a_date_counts_from_our_clock_where_the_reply_has_none() -> None:
    assert retry_after((("retry-after", DATE),), NOW - 7.0) == 7.0
    assert retry_after((("retry-after", DATE),), NOW + 7.0) is None
    assert retry_after((("retry-after", DATE), ("date", DATE)), 0.0) == 0.0


def test_the_first_of_repeated_fields_counts() -> None:
    assert retry_after((("retry-after", "3"), ("retry-after", "9"))) == 3.0


@pytest.mark.parametrize(
    "text",
    ["Sun, 32 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 Nov 1994 08:60:37 GMT",
     "Sun, 06 Nix 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 CET", "Sun, 06 Nov 1994 08:49 GMT", "Nov 1994", "",
     "Sun, 06 Nov 1969 08:49:37 GMT", "Sun, 06 Nov 19944 08:49:37 GMT"],
)  # fmt: skip
def test_what_is_no_date(text: str) -> None:
    assert http_date(text) is None


@given(
    st.datetimes(
        min_value=__import__("datetime").datetime(1970, 1, 1), max_value=__import__("datetime").datetime(9999, 12, 31)
    )
)
def test_dates_are_those_of_the_calendar(moment) -> None:
    from datetime import UTC
    from email.utils import format_datetime

    moment = moment.replace(microsecond=0, tzinfo=UTC)
    assert http_date(format_datetime(moment, usegmt=True)) == moment.timestamp()


@given(st.text(max_size=40))
def test_whatever_a_server_says_the_hint_is_a_number_or_nothing(text: str) -> None:
    for name in ("retry-after", "retry-after-ms"):
        hint = retry_after(((name, text),), NOW)
        assert hint is None or hint >= 0.0


@pytest.mark.parametrize(
    ("value", "told"), [("true", True), ("false", False), ("TRUE", True), (" false ", False), ("1", None), ("", None)]
)
def test_x_should_retry(value: str, told: bool | None) -> None:
    assert should_retry((("x-should-retry", value),)) is told


# -- when ------------------------------------------------------------------------------------------------------------------

FAR = 1e9


def state(seed: int = 0, budget: RetryBudget | None = None, **policy) -> RetryState:
    return RetryState(RetryPolicy(**policy), budget or RetryBudget(), seed)


@given(st.integers(0, 2**64 - 1), st.sampled_from(["A", "B", "C", "E"]))
def test_backoff_is_full_jitter_between_zero_and_its_bound(seed: int, retry_class) -> None:
    retries = state(seed, max_retries=12)
    base = 2.0 if retry_class == "C" else 0.5
    for number in range(12):
        decision = retries.on_failure("x", retry_class, None, 100.0, FAR)
        assert isinstance(decision, Again)
        assert 0.0 <= decision.delay <= min(30.0, base * 2**number)
        assert decision.at == 100.0 + decision.delay
        assert decision.reason == "backoff"


@given(st.integers(0, 2**64 - 1), st.sampled_from(["A", "B", "C", "E"]), st.floats(0.0, 60.0))
def test_a_hint_is_a_floor_under_the_backoff_and_lengthened_by_a_tenth_at_most(
    seed: int, retry_class, hint: float
) -> None:
    hinted, plain = state(seed, max_retries=9), state(seed, max_retries=9)
    first, backoff = (
        retries.on_failure("x", retry_class, hinted_at, 0.0, FAR)
        for retries, hinted_at in ((hinted, hint), (plain, None))
    )
    assert isinstance(first, Again)
    assert isinstance(backoff, Again)
    longer = min(1.0, hint / 10)
    assert max(hint, backoff.delay) <= first.delay <= max(hint, backoff.delay) + longer
    assert first.reason == "server"
    for number in range(1, 9):
        decision = hinted.on_failure("x", retry_class, hint, 0.0, FAR)
        assert isinstance(decision, Again)
        bound = min(30.0, (2.0 if retry_class == "C" else 0.5) * 2**number)
        assert hint <= decision.delay <= max(hint, bound) + longer


def test_a_hint_beyond_the_patience_or_the_deadline_stops() -> None:
    assert state().on_failure("429", "C", 60.1, 0.0, FAR) == Stop("retry_after")
    assert state().on_failure("429", "C", 10.0, 0.0, 10.0) == Stop("deadline")


@pytest.mark.parametrize("retry_class", ["A", "B", "B1", "C", "D", "E", "E1"])
def test_how_often_each_class_is_tried_again(retry_class) -> None:
    retries = state(max_retries=3)
    tries = 0
    while isinstance(retries.on_failure("x", retry_class, None, 0.0, FAR), Again):
        tries += 1
    assert tries == {"A": 3, "B": 3, "B1": 1, "C": 3, "D": 0, "E": 3, "E1": 1}[retry_class]


@pytest.mark.parametrize(("retry_class", "again"), [("A", True), ("B", True), ("B1", True), ("C", True), ("D", False), ("E", False), ("E1", False)])  # fmt: skip
@pytest.mark.parametrize("hint", [None, 0.0, 1.0])
def test_what_may_have_run_stops_where_it_was_told_to(retry_class, again: bool, hint: float | None) -> None:
    decision = state(retry_ambiguous=False).on_failure("x", retry_class, hint, 0.0, FAR)
    assert isinstance(decision, Again) if again else decision == Stop()
    assert (retry_class in MAY_HAVE_RUN) == (retry_class in ("E", "E1"))


def test_a_stale_connection_costs_nothing_once() -> None:
    retries = state(max_retries=0)
    assert retries.on_failure("stale", "A", None, 5.0, FAR) == Again(5.0, 0.0, "immediate")
    assert retries.retries == 0
    assert retries.on_failure("stale", "A", None, 5.0, FAR) == Stop()


# -- the budget --------------------------------------------------------------------------------------------------------------


def test_what_a_retry_costs() -> None:
    assert dict(COSTS) == {"A": 14, "B": 14, "B1": 14, "C": 14, "D": 0, "E": 14, "E1": 14}
    assert HINTED_COST == 0


@pytest.mark.parametrize(("retry_class", "hint", "left"), [
    ("A", None, 486), ("A", 1.0, 486), ("B", None, 486), ("B", 1.0, 486), ("B1", None, 486), ("C", None, 486),
    ("C", 1.0, 500), ("C", 0.0, 500), ("E", None, 486), ("E", 1.0, 486), ("E1", None, 486),
])  # fmt: skip
def test_a_retry_is_charged_and_given_back_when_it_succeeds(retry_class, hint: float | None, left: int) -> None:
    budget = RetryBudget()
    retries = state(budget=budget)
    retries.on_failure("x", retry_class, hint, 0.0, FAR)
    assert budget.tokens == left
    retries.on_success()
    assert budget.tokens == 500


@given(st.lists(st.tuples(st.sampled_from(["fails", "succeeds"]), st.floats(0.0, 5.0)), max_size=400))
def test_retries_stay_below_the_bound_in_any_window(calls: list[tuple[str, float]]) -> None:
    """Retries that cost: <= 0.1 * calls + the floor's + 500 / 14, whatever happens."""
    budget, now, retried = RetryBudget(), 0.0, []
    for outcome, pause in calls:
        now += pause
        if outcome == "succeeds":
            budget.on_success()
        elif budget.take(COSTS["B"], now) is not None:
            retried.append(now)
    minutes = now / 60 + 1
    assert len(retried) <= 0.1 * len(calls) + 6 * minutes + 500 / COSTS["B"]


def test_an_empty_budget_lets_six_a_minute_through() -> None:
    budget = RetryBudget(max_tokens=0)
    assert [budget.take(14, at) for at in (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)] == [0] * 6
    assert budget.take(14, 59.9) is None
    assert budget.take(14, 60.0) == 0
    assert budget.take(14, 60.5) is None
    assert [budget.take(14, at) for at in (61.0, 61.0)] == [0, None]


def test_a_suppressed_retry_says_so() -> None:
    budget = RetryBudget(max_tokens=0, floor=0)
    for condition, retry_class in (("503", "B"), ("refused", "A"), ("429", "C"), ("no_reply", "E"), ("garbled", "E1")):
        assert state(budget=budget).on_failure(condition, retry_class, None, 0.0, FAR) == Stop("budget")


def test_what_costs_nothing_is_not_suppressed() -> None:
    budget = RetryBudget(max_tokens=0, floor=0)
    assert isinstance(state(budget=budget).on_failure("429", "C", 0.0, 0.0, FAR), Again)
    assert isinstance(state(budget=budget).on_failure("stale", "A", None, 0.0, FAR), Again)
    assert budget.untouched


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
