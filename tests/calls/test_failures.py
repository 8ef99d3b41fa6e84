"""What a user reads when the transport fails: the error's type, its code, where it happened, what can be changed.

Codes and phases are what programs branch on, so each is written out here once more.
"""

from __future__ import annotations

from typing import get_args

import pytest

from sans_io.calls import failures
from sans_io.calls.failures import FAULT_KINDS, FaultKind
from sans_io.errors import LLMAuthError, LLMConnectionError, LLMStreamError, LLMTimeoutError
from sans_io.http.proxies import parse_proxy
from sans_io.http.urls import Origin
from sans_io.policy.pool import Route

ORIGIN = Origin("https", "llm.example", 8443)
AT = "https://llm.example:8443"
SAID = {
    "dns_temporary": ("dns", f"the host name of {AT} could not be resolved at the moment"),
    "dns_failed": ("dns", f"the host name of {AT} does not exist; check base_url"),
    "refused": ("refused", f"{AT} refused the connection; is the server running?"),
    "unreachable": ("unreachable", f"{AT} cannot be reached"),
    "reset": ("reset", f"the connection to {AT} broke"),
    "tls_verify": ("tls_verify", f"the certificate of {AT} was not accepted"),
    "tls_failed": ("tls", f"TLS with {AT} failed"),
    "proxy_refused": ("proxy", f"the proxy refused to connect to {AT}"),
    "too_many_files": ("too_many_open_files", f"no file descriptor is left for a connection to {AT}"),
    "pool_closed": ("pool_closed", "the connection pool was closed"),
    "auth_callable": ("auth_callable", "the api_key callable failed"),
    "local": ("local", f"the connection to {AT} failed"),
}


@pytest.mark.parametrize("kind", SAID)
def test_a_fault_says_what_failed_and_where(kind: FaultKind) -> None:
    code, text = SAID[kind]
    error = failures.of_fault(kind, "", ORIGIN)
    assert type(error) is (LLMAuthError if kind == "auth_callable" else LLMConnectionError)
    assert (error.code, error.message) == (code, text)
    assert failures.of_fault(kind, "errno 5", ORIGIN).message == f"{text}: errno 5"


def test_every_fault_that_a_transport_may_report_is_listed_and_has_its_words() -> None:
    assert get_args(FaultKind) == FAULT_KINDS
    assert set(FAULT_KINDS) - {"timeout"} == set(SAID)  # a timeout is worded by what was waited for, below


@pytest.mark.parametrize(
    ("phase", "where"),
    [
        ("acquire", "while waiting for a free connection"),
        ("connect", "while connecting"),
        ("write", "while sending the request"),
        ("head", "before the server answered"),
        ("body", "before the reply was complete"),
        ("stream", "in the middle of the stream"),
        ("backoff", "while waiting to retry"),
        ("elsewhere", "in phase 'elsewhere'"),
    ],
)
def test_a_deadline_says_where_it_passed(phase: str, where: str) -> None:
    error = failures.deadline_passed(1.5, phase)
    assert type(error) is LLMTimeoutError
    assert (error.code, error.phase) == ("timeout", phase)
    assert error.message == f"timed out after 1.5 s {where}"
    assert failures.deadline_passed(None, phase).message == f"timed out after its deadline {where}"


def test_a_timer_names_the_setting_that_raises_it() -> None:
    route = Route(ORIGIN)
    through = Route(ORIGIN, parse_proxy("http://proxy.example:3128"))
    said = {
        "connect": (failures.connect_timed_out(2.0, route, ""), "connect_timeout", "connect"),
        "connect ": (failures.connect_timed_out(2.0, through, ""), "connect_timeout", "connect"),
        "write": (failures.write_timed_out(2.0), "write_timeout", "write"),
        "first_token": (failures.first_token(2.0, "head"), "first_token_timeout", "head"),
        "idle": (failures.idle(2.0, "stream"), "idle_timeout", "stream"),
    }
    for setting, (error, code, phase) in said.items():
        assert type(error) is LLMTimeoutError
        assert (error.code, error.phase) == (code, phase)
        assert "2 s" in error.message
        assert f"increase Timeouts({setting.strip()}=" in error.message
    assert "through the proxy" in said["connect "][0].message
    assert "proxy" not in said["connect"][0].message
    assert "within 2 s: slow name server;" in failures.connect_timed_out(2.0, route, "slow name server").message


def test_a_full_pool_says_what_it_held_and_which_settings_help() -> None:
    error = failures.no_free_connection(30.0, "10 leased")
    assert type(error) is LLMConnectionError
    assert (error.code, error.phase) == ("pool_timeout", "acquire")
    assert "within 30 s (10 leased);" in error.message
    assert "Timeouts(pool=" in error.message
    assert "max_connections" in error.message
    assert "within 30 s;" in failures.no_free_connection(30.0, "").message


def test_an_idle_stream_that_still_sent_keepalives_says_so_to_whoever_reads_it() -> None:
    error = failures.idle(120.0, "stream")
    failures.blame_keepalives(error, 240.0)
    assert error.code == "idle_keepalive_only"
    assert "only keep-alives were received for 240 s" in error.message
    assert str(error) == error.message


@pytest.mark.parametrize("phase", ["head", "body", "stream"])
def test_a_broken_answer_is_a_truncated_one(phase: str) -> None:
    cut = failures.cut("no last chunk")
    assert type(cut) is LLMStreamError
    assert (cut.code, cut.phase, cut.message) == (
        "truncated",
        "stream",
        "the stream was cut off before its end: no last chunk",
    )
    assert failures.cut("").message == "the stream was cut off before its end"
    broke = failures.broke_in_reply("reset", ORIGIN, phase)
    assert type(broke) is LLMConnectionError
    assert (broke.code, broke.phase) == ("truncated", phase)
    assert broke.message == f"the connection to {AT} broke in the middle of the reply: reset"
    assert failures.broke_in_reply("", ORIGIN, phase).message.endswith("the reply")


PROXY = parse_proxy("http://user:secret-secret@proxy.example:3128")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("dns_temporary", "the host name of the proxy http://proxy.example:3128 could not be resolved at the moment"),
        ("dns_failed", "the host name of the proxy http://proxy.example:3128 does not exist; check the proxy's URL"),
        ("refused", "the proxy http://proxy.example:3128 refused the connection; is the proxy running?"),
        ("unreachable", f"{AT} cannot be reached through the proxy http://proxy.example:3128"),
        ("reset", f"the connection to {AT} through the proxy http://proxy.example:3128 broke"),
        ("tls_verify", SAID["tls_verify"][1]),
        ("tls_failed", SAID["tls_failed"][1]),
        ("proxy_refused", SAID["proxy_refused"][1]),
        ("local", SAID["local"][1]),
    ],
)
def test_on_the_way_through_a_proxy_it_is_the_proxy_that_was_dialled(kind: FaultKind, text: str) -> None:
    error = failures.of_fault(kind, "errno 5", ORIGIN, PROXY)
    assert error.message == f"{text}: errno 5"
    assert error.code == SAID[kind][0]


def test_a_proxy_is_shown_without_its_password_and_with_brackets() -> None:
    assert failures.shown_proxy(PROXY) == "http://proxy.example:3128"
    assert failures.shown_proxy(parse_proxy("http://[::1]:8080")) == "http://[::1]:8080"
