"""Timeouts, environment, keys, headers, proxies, warnings, budgets: what a constructor makes of them."""

from __future__ import annotations

import gc
import math
import pickle
import sys
import warnings
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from cloud.llm import (
    AnthropicClient,
    AsyncAnthropicClient,
    AsyncOllamaClient,
    AsyncOpenAICompatClient,
    InsecureTransportWarning,
    Limits,
    LLMAuthError,
    LLMBadRequestError,
    LLMServerError,
    OllamaClient,
    OpenAICompatClient,
    RetryPolicy,
    Timeouts,
    budgets,
    config,
    get_provider,
)
from cloud.llm.config import progress_timers, timers_for
from sans_io.http.secret import Secret
from sans_io.http.urls import parse_base_url
from sans_io.policy.deadline import Timers
from sans_io.policy.retry import RetryBudget
from tests import callers as calling
from tests.callers import MODES as CALLING
from tests.cloud.kit import AWAITED, BLOCKING, HELLO, MODES, WIRES, perform, scripted
from transports.anyio_async import AsyncioTransport
from transports.httpcore_sync import SyncTransport
from transports.pools import PoolSettings
from transports.testing import LoopbackServer, ScriptedError, ScriptedReply, ScriptedTransport
from transports.trio_async import TrioTransport

VARIABLES = (
    "OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_API_VERSION",
    "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "OLLAMA_HOST", "OLLAMA_API_KEY",
    "GROQ_API_KEY", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_AD_TOKEN", "HTTP_PROXY",
    "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


HUGE = 10**400


def str_of(value: object) -> str:
    """An id for a case: that of a huge integer would be as long as it is."""
    return "huge" if isinstance(value, int) and abs(value) > 2**64 else repr(value)


def header(client: Any, name: str) -> Any:
    fields = {key.lower(): value for key, value in client.build_request(HELLO, "m").headers}
    return fields.get(name)


# -- timeouts ---------------------------------------------------------------------------------------------------------


def test_a_plain_timeout() -> None:
    assert timers_for(120.0, False) == Timers(120.0, None, 30.0, 5.0, 30.0, 120.0, 120.0)
    assert timers_for(120.0, True) == Timers(None, 120.0, 30.0, 5.0, 30.0, 120.0, 120.0)
    assert timers_for(2.0, False) == Timers(2.0, None, 2.0, 2.0, 2.0, 2.0, 2.0)
    assert timers_for(None, False) == timers_for(None, True) == Timers(None, None, 30.0, 5.0, 30.0, None, None)


def test_timeouts_one_by_one() -> None:
    assert timers_for(Timeouts(), False) == timers_for(120.0, False)
    assert timers_for(Timeouts(), True) == timers_for(120.0, True)
    short = Timeouts(first_token=5.0, connect=1.0)
    assert timers_for(short, False) == Timers(120.0, None, 30.0, 1.0, 30.0, 5.0, 120.0)
    assert timers_for(short, True) == Timers(None, 120.0, 30.0, 1.0, 30.0, 5.0, 120.0)
    patient = Timeouts(first_token=600.0, idle=900.0)
    assert timers_for(patient, False).total == 900.0
    assert timers_for(patient, True).until_commit == 600.0
    bounded = Timeouts(total=10.0)
    assert timers_for(bounded, True) == Timers(10.0, None, 10.0, 5.0, 10.0, 10.0, 10.0)
    unlimited = Timeouts(total=None, idle=None, pool=None)
    assert timers_for(unlimited, False) == Timers(None, None, None, 5.0, 30.0, 120.0, None)
    assert timers_for(Timeouts(idle=math.inf), True).idle is None
    assert progress_timers(7.0) == Timers(None, None, 7.0, 5.0, 7.0, 7.0, 7.0)
    assert pickle.loads(pickle.dumps(short)) == short
    assert "first_token=5.0" in repr(short)
    assert "total=default" in repr(short)


@pytest.mark.parametrize("wrong", [0, -1, math.nan, "10", True, [1], -math.inf])
def test_wrong_timeouts_are_refused_by_name(wrong: Any) -> None:
    with pytest.raises(LLMBadRequestError, match="timeout"):
        OpenAICompatClient("k", timeout=wrong)
    with pytest.raises(LLMBadRequestError, match=r"Timeouts\.idle"):
        Timeouts(idle=wrong)
    with pytest.raises(LLMBadRequestError, match="timeout"):
        OpenAICompatClient("k").chat(HELLO, timeout=wrong)


NO_SECONDS = [-1, -0.1, True, False, math.nan, -math.inf, Decimal(5), Fraction(5, 2), 5 + 0j, "5", [5], HUGE, 10**5000]
NO_COUNTS = [-1, 1.5, True, 3.0, math.nan, math.inf, Decimal(3), Fraction(3), "3", [3], HUGE, 10**5000]


@pytest.mark.parametrize("wrong", [*NO_COUNTS, None], ids=str_of)
def test_wrong_max_retries_are_refused(wrong: Any) -> None:
    with pytest.raises(LLMBadRequestError, match="max_retries must be an integer of at least 0, not "):
        OpenAICompatClient("k", max_retries=wrong)
    if wrong is not None:
        with pytest.raises(LLMBadRequestError, match="max_retries must be an integer of at least 0, not "):
            OpenAICompatClient("k").chat(HELLO, max_retries=wrong)
        with pytest.raises(LLMBadRequestError, match="max_retries must be an integer of at least 0, not "):
            OpenAICompatClient("k").with_options(max_retries=wrong)


def test_true_is_no_number_of_retries_although_it_is_equal_to_one() -> None:
    assert OpenAICompatClient("k", max_retries=1).max_retries == 1
    with pytest.raises(LLMBadRequestError, match="not True"):
        OpenAICompatClient("k", max_retries=True)
    with pytest.raises(LLMBadRequestError, match="not True"):
        OpenAICompatClient("k", max_retries=1).chat(HELLO, max_retries=True)


@pytest.mark.parametrize("wrong", [*NO_SECONDS, 0], ids=str_of)
def test_what_is_no_number_of_seconds_is_refused_where_it_is_given(wrong: Any) -> None:
    words = "must be a positive number of seconds or None, not "
    for refused in (
        lambda: OpenAICompatClient("k", timeout=wrong),
        lambda: OpenAICompatClient("k").chat(HELLO, timeout=wrong),
        lambda: OpenAICompatClient("k").chat_stream(HELLO, timeout=wrong),
        lambda: OllamaClient(timeout=wrong),
        *(lambda name=name: Timeouts(**{name: wrong}) for name in Timeouts.__slots__),
    ):
        with pytest.raises(LLMBadRequestError, match=words) as caught:
            refused()
        assert len(str(caught.value)) < 120
    for name in Timers.__slots__:
        with pytest.raises(ValueError, match=rf"^Timers\.{name} {words}"):
            Timers(**{name: wrong})
    for name in ("max_age", "idle_timeout"):
        with pytest.raises(ValueError, match=f"^{name} must be a positive number of seconds, not "):
            PoolSettings(**{name: wrong})


@pytest.mark.parametrize("wrong", NO_SECONDS, ids=str_of)
def test_a_retry_policy_refuses_what_is_no_number_of_seconds(wrong: Any) -> None:
    for name in ("base_transient", "base_throttled", "max_backoff", "max_retry_after"):
        with pytest.raises(ValueError, match=f"^RetryPolicy.{name} must be a number of seconds of at least 0, not "):
            RetryPolicy(**{name: wrong})


@pytest.mark.parametrize("wrong", NO_COUNTS, ids=str_of)
def test_what_is_no_count_is_refused_where_it_is_given(wrong: Any) -> None:
    for name in Limits.__slots__:
        with pytest.raises(ValueError, match=rf"^Limits\.{name} must be an integer of at least 0, not "):
            Limits(**{name: wrong})
    with pytest.raises(ValueError, match="^max_idle must be an integer of at least 0, not "):
        PoolSettings(max_idle=wrong)
    with pytest.raises(ValueError, match="^max_retries must be an integer of at least 0, not "):
        RetryPolicy(max_retries=wrong)
    for made in (PoolSettings, SyncTransport, AsyncioTransport, TrioTransport):
        with pytest.raises(ValueError, match="^max_connections must be at least 1 or None, not "):
            made(max_connections=wrong)
        with pytest.raises(ValueError, match="^max_connections must be at least 1 or None, not 0$"):
            made(max_connections=0)


def test_the_largest_numbers_count() -> None:
    """The error of one that is too large does not print its digits."""
    with pytest.raises(LLMBadRequestError, match="^timeout must be .*, not an integer of 1329 bits$"):
        OpenAICompatClient("k", timeout=HUGE)
    most = sys.float_info.max
    assert OpenAICompatClient("k", timeout=most).timeout == most
    assert OpenAICompatClient("k", timeout=10**308).timeout == 1e308
    assert OpenAICompatClient("k", timeout=math.inf).timeout is None
    assert RetryPolicy(max_backoff=math.inf, max_retry_after=math.inf).max_backoff == math.inf
    assert Limits(max_json=2**63 - 1).max_json == 2**63 - 1
    with pytest.raises(ValueError, match="an integer of 64 bits"):
        Limits(max_json=2**63)


@pytest.mark.parametrize("most", [sys.float_info.max, 10**308, math.inf], ids=str_of)
@pytest.mark.parametrize("mode", CALLING, ids=str)
def test_a_call_with_the_longest_timeout_is_a_call(mode: Any, most: float) -> None:
    for timeout in (most, Timeouts(**dict.fromkeys(Timeouts.__slots__, most))):
        with LoopbackServer() as server:
            client = mode.client(server.base_url("openai"), timeout=timeout)

            async def main(client: Any = client) -> tuple[str, str]:
                whole = (await calling.chat(client)).content
                return whole, "".join(await calling.drain(client.chat_stream(HELLO)))

            for found in mode.run(main):
                assert found == ("You said: hello", "You said: Hello!")


def test_a_retry_policy_brings_its_own_number() -> None:
    assert OpenAICompatClient("k").max_retries == 3
    assert OpenAICompatClient("k", max_retries=0).max_retries == 0
    assert OpenAICompatClient("k", retry=RetryPolicy(max_retries=7)).max_retries == 7
    with pytest.raises(ValueError, match="max_backoff"):
        RetryPolicy(max_backoff=-1)


# -- keys and places --------------------------------------------------------------------------------------------------

BLANK = ["", " ", "\t\n", "\u00a0"]


@pytest.mark.parametrize("blank", BLANK)
@pytest.mark.parametrize("name", ["base_url", "host", "model", "proxy", "ca_file", "api_version"])
def test_a_blank_place_is_refused_by_name(name: str, blank: str) -> None:
    """Most likely an environment variable that is not set: the default would be a place that nobody meant."""
    makers = {
        "host": [OllamaClient, AsyncOllamaClient],
        "api_version": [OpenAICompatClient, AnthropicClient, AsyncOpenAICompatClient, AsyncAnthropicClient],
    }.get(name, [*BLOCKING.values(), *AWAITED.values()])
    for make in makers:
        with pytest.raises(
            LLMBadRequestError, match=f"^{name} is blank: give a value, or leave it out for the default"
        ):
            make(api_key="k", **{name: blank})
        with pytest.raises(LLMBadRequestError, match="is blank"):
            make(api_key="k").with_options(**{name: blank})


@pytest.mark.parametrize("wrong", [False, 0, [], b"", b"http://h.example", 5], ids=repr)
def test_a_place_that_is_no_string_is_refused_by_name(wrong: Any) -> None:
    for make in BLOCKING.values():
        for name in ("base_url", "ca_file"):
            with pytest.raises(LLMBadRequestError, match=f"^{name} must be a string, not {type(wrong).__name__}$"):
                make(api_key="k", **{name: wrong})
    with pytest.raises(LLMBadRequestError, match=f"^host must be a string, not {type(wrong).__name__}$"):
        OllamaClient(host=wrong)


def test_none_is_the_default_place() -> None:
    assert OpenAICompatClient("k", base_url=None).base_url == "https://api.openai.com/v1"
    assert AnthropicClient("k", base_url=None).base_url == "https://api.anthropic.com"
    assert OllamaClient(host=None, base_url=None).base_url == "http://127.0.0.1:11434"
    for blank in ("dialect", "provider"):
        with pytest.raises((LLMBadRequestError, ValueError), match="unknown"):
            get_provider("") if blank == "provider" else OpenAICompatClient("k", dialect="")
    with pytest.raises(LLMBadRequestError, match="not both"):
        OllamaClient(host="h.example", base_url="http://h.example")


@pytest.mark.parametrize("blank", BLANK)
@pytest.mark.parametrize(
    ("variable", "make"),
    [
        ("OPENAI_BASE_URL", lambda **given: OpenAICompatClient("k", **given)),
        ("OPENAI_BASE_URL", lambda **given: OpenAICompatClient("k", dialect="openai", **given)),
        ("OPENAI_BASE_URL", lambda **given: get_provider("openai", api_key="k", **given)),
        ("AZURE_OPENAI_ENDPOINT", lambda **given: OpenAICompatClient("k", "m", dialect="azure", **given)),
        ("ANTHROPIC_BASE_URL", lambda **given: AnthropicClient("k", **given)),
        ("OLLAMA_HOST", lambda **given: OllamaClient(**given)),
    ],
)
def test_a_variable_that_is_blank_names_no_place(
    variable: str, make: Any, blank: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, blank)
    with pytest.raises(LLMBadRequestError, match=f"^the environment variable {variable} is set but blank"):
        make()
    make(base_url="https://h.example")  # where a place is given the variable is not looked at
    monkeypatch.setenv(variable, "not a url")
    with pytest.raises(LLMBadRequestError, match=f"^{variable} "):
        make()
    place = "https://h.example:443/ollama" if variable == "OLLAMA_HOST" else "https://h.example/v1"
    monkeypatch.setenv(variable, f"  {place} ")
    made = make()
    assert getattr(made, "client", made).base_url == place.replace(":443", "")


def test_a_variable_of_another_vendor_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_BASE_URL", "AZURE_OPENAI_ENDPOINT", "ANTHROPIC_BASE_URL", "OLLAMA_HOST"):
        monkeypatch.setenv(variable, "")
    assert OpenAICompatClient("k", "m", dialect="groq").base_url == "https://api.groq.com/openai/v1"


@pytest.mark.parametrize("blank", BLANK)
def test_a_blank_proxy_variable_is_no_proxy(blank: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for every tool: it is how one switches a proxy off."""
    for variable in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(variable, blank)
    assert OpenAICompatClient("k", "m", base_url="https://h.example/v1")._proxy is None


@pytest.mark.parametrize(
    ("make", "variable"),
    [
        (lambda: OpenAICompatClient(), "OPENAI_API_KEY"),
        (lambda: OpenAICompatClient(base_url="https://api.groq.com/openai/v1"), "GROQ_API_KEY"),
        (lambda: OpenAICompatClient(dialect="groq"), "GROQ_API_KEY"),
        (lambda: OpenAICompatClient(base_url="https://x.openai.azure.com"), "AZURE_OPENAI_API_KEY"),
        (lambda: AnthropicClient(), "ANTHROPIC_API_KEY"),
        (lambda: AnthropicClient(""), "ANTHROPIC_API_KEY"),
    ],
)
def test_a_missing_key_names_its_variable(make: Any, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LLMAuthError, match=variable):
        make()
    monkeypatch.setenv(variable, "  ")
    with pytest.raises(LLMAuthError, match=variable):
        make()
    monkeypatch.setenv(variable, "sk-env")
    make()


def test_what_is_given_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:7/v1")
    assert OpenAICompatClient().base_url == "http://127.0.0.1:7/v1"
    assert OpenAICompatClient(base_url="http://127.0.0.1:8/v1").base_url == "http://127.0.0.1:8/v1"
    assert header(OpenAICompatClient(), "authorization") == Secret("Bearer sk-env")
    assert header(OpenAICompatClient("sk-given"), "authorization") == Secret("Bearer sk-given")
    client = OpenAICompatClient()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-later")
    assert header(client, "authorization") == Secret("Bearer sk-env")
    other = client.with_options(timeout=1)
    assert header(other, "authorization") == Secret("Bearer sk-env")
    with pytest.raises(LLMAuthError):
        other.with_options(base_url="https://api.groq.com/openai/v1")


def test_a_key_from_the_environment_never_follows_to_another_vendor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    monkeypatch.setenv("GROQ_API_KEY", "gsk-groq")
    client = OpenAICompatClient()
    groq = client.with_options(base_url="https://api.groq.com/openai/v1", model="m")
    assert header(groq, "authorization") == Secret("Bearer gsk-groq")
    monkeypatch.delenv("GROQ_API_KEY")
    with pytest.raises(LLMAuthError, match="GROQ_API_KEY"):
        client.with_options(base_url="https://api.groq.com/openai/v1")
    given = OpenAICompatClient("sk-given").with_options(base_url="https://api.groq.com/openai/v1")
    assert header(given, "authorization") == Secret("Bearer sk-given")


def test_no_key_no_header() -> None:
    for wire in WIRES:
        client = BLOCKING[wire](base_url="http://127.0.0.1:9")
        assert header(client, "authorization") is None
        assert header(client, "x-api-key") is None
    assert header(OpenAICompatClient(base_url="https://vllm.example/v1"), "authorization") is None


def test_organization_and_project_go_to_openai_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-1")
    client = OpenAICompatClient("k")
    assert (header(client, "openai-organization"), header(client, "openai-project")) == ("org-1", "proj-1")
    assert header(OpenAICompatClient("k", organization="org-2"), "openai-organization") == "org-2"
    assert header(OpenAICompatClient("k", base_url="https://api.mistral.ai/v1"), "openai-organization") is None


def test_azure_in_both_styles(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = "https://res.openai.azure.com"
    one = OpenAICompatClient("k", "dep", base_url=endpoint)
    assert one.build_request(HELLO).target == "/openai/v1/chat/completions"
    assert header(one, "api-key") == Secret("k")
    two = OpenAICompatClient("k", "my dep", base_url=endpoint, api_version="2024-10-21")
    target = "/openai/deployments/my%20dep/chat/completions?api-version=2024-10-21"
    assert two.build_request(HELLO).target == target
    entra = OpenAICompatClient(lambda: "token", "dep", base_url=endpoint)
    assert header(entra, "authorization") == Secret("Bearer token")
    assert header(entra, "api-key") is None
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", endpoint)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "env-key")
    assert header(OpenAICompatClient(dialect="azure"), "api-key") == Secret("env-key")
    monkeypatch.setenv("AZURE_OPENAI_AD_TOKEN", "env-token")
    assert header(OpenAICompatClient(dialect="azure"), "authorization") == Secret("Bearer env-token")
    assert header(OpenAICompatClient("given", dialect="azure"), "api-key") == Secret("given")
    moved = OpenAICompatClient(dialect="azure").with_options(timeout=1)
    assert header(moved, "authorization") == Secret("Bearer env-token")
    assert header(moved.with_options(api_key="given"), "api-key") == Secret("given")
    monkeypatch.setenv("OPENAI_API_VERSION", "2024-10-21")
    assert "api-version=2024-10-21" in OpenAICompatClient("k", "d", dialect="azure").build_request(HELLO).target
    monkeypatch.delenv("AZURE_OPENAI_ENDPOINT")
    with pytest.raises(LLMBadRequestError, match="AZURE_OPENAI_ENDPOINT"):
        OpenAICompatClient("k", dialect="azure")


def test_anthropic_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    assert header(AnthropicClient("k"), "x-api-key") == Secret("k")
    assert header(AnthropicClient(auth_token="t"), "authorization") == Secret("Bearer t")
    assert header(AnthropicClient(auth_token=lambda: "t2"), "authorization") == Secret("Bearer t2")
    assert header(AnthropicClient(auth_token="t").with_options(), "authorization") == Secret("Bearer t")
    with pytest.raises(LLMBadRequestError, match="not both"):
        AnthropicClient("k", auth_token="t")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "env-token")
    assert header(AnthropicClient(), "authorization") == Secret("Bearer env-token")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "env-key")
    assert header(AnthropicClient(), "x-api-key") == Secret("env-key")
    assert header(AnthropicClient(), "authorization") is None
    assert header(AnthropicClient(auth_token="t"), "x-api-key") is None
    assert header(AnthropicClient(betas=["a", "b"]), "anthropic-beta") == "a,b"
    assert header(AnthropicClient(api_version="2023-06-01"), "anthropic-version") == "2023-06-01"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        (None, "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("gpu", "http://gpu:11434"),
        ("gpu:1234", "http://gpu:1234"),
        ("https://gpu", "https://gpu"),
        ("http://gpu", "http://gpu"),
        ("ollama.com", "https://ollama.com"),
        (":5", "http://127.0.0.1:5"),
    ],
)
def test_ollama_hosts(host: str | None, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert OllamaClient(host=host).base_url == url
    assert OllamaClient(base_url=host).base_url == url
    assert OllamaClient(host=host).with_options(timeout=1).base_url == url
    if host is not None:
        monkeypatch.setenv("OLLAMA_HOST", host)
        assert OllamaClient().base_url == url
        assert OllamaClient(host="other").base_url == "http://other:11434"
        assert OllamaClient().with_options(host="other").base_url == "http://other:11434"
    with pytest.raises(LLMBadRequestError, match="not both"):
        OllamaClient(host="a", base_url="b")


def test_models_by_default() -> None:
    assert OpenAICompatClient("k").model == "gpt-5.4-mini"
    assert AnthropicClient("k").model == "claude-sonnet-5-5"
    assert OllamaClient().model == "qwen2.5:3b"
    for place in ({"dialect": "groq"}, {"base_url": "https://llm.example/v1"}):
        client = OpenAICompatClient("k", **place)
        assert client.model is None
        with pytest.raises(LLMBadRequestError, match="model"):
            client.chat(HELLO)
    local = OpenAICompatClient(base_url="http://127.0.0.1:41234/v1")
    assert b"model" not in local.build_request(HELLO).body
    moved = OpenAICompatClient("k").with_options(base_url="https://llm.example/v1")
    assert moved.model is None


@pytest.mark.parametrize("key", ["sk\r\nX: y", "sk\0", " sk", "schlüssel", "sk\x7f", 5, b"sk"])
def test_wrong_keys_are_refused_and_not_echoed(key: Any) -> None:
    for wire in WIRES:
        with pytest.raises(LLMBadRequestError) as caught:
            BLOCKING[wire](api_key=key)
        assert "api_key" in caught.value.message
        assert str(key) not in caught.value.message or key == 5


@pytest.mark.parametrize("name", ["transport", "ssl_context", "retry", "limits"])
@pytest.mark.parametrize("wrong", [3, True, "x", object(), Path("x")], ids=lambda value: type(value).__name__)
def test_an_object_of_another_kind_is_refused_by_name(name: str, wrong: object) -> None:
    with pytest.raises(LLMBadRequestError, match=rf"^{name} must be an? .*, not [\w.]+\.{type(wrong).__name__}$"):
        OpenAICompatClient("k", **{name: wrong})


@pytest.mark.parametrize(
    "options",
    [
        {"base_url": "api.openai.com"}, {"base_url": "ftp://x"}, {"base_url": "https://u:p@x"}, {"base_url": 5},
        {"headers": {"X": "a\nb"}}, {"headers": {"X y": "a"}}, {"headers": "X: y"}, {"headers": {"X": 1}},
        {"headers": {"Host": "evil"}}, {"proxy": "socks5://x:1"}, {"proxy": "https://x:1"}, {"on_attempt": 5},
        {"ssl_context": object(), "ca_file": "x"}, {"dialect": "klingon"},
    ],
)  # fmt: skip
def test_wrong_options_are_refused_at_construction(options: dict[str, Any]) -> None:
    with pytest.raises(LLMBadRequestError):
        OpenAICompatClient("k", **options)


# -- proxies and warnings ---------------------------------------------------------------------------------------------


def test_the_environment_chooses_a_proxy_unless_it_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:pw@proxy.example:3128")
    client = OpenAICompatClient("k")
    assert (client._proxy.host, client._proxy.port) == ("proxy.example", 3128)
    assert "pw" not in repr(vars(client))
    assert OpenAICompatClient("k", trust_env=False)._proxy is None
    assert OpenAICompatClient("k", proxy="http://other:1")._proxy.host == "other"
    assert OpenAICompatClient("k", proxy="http://other:1").with_options(timeout=1)._proxy.host == "other"
    assert OpenAICompatClient("k", base_url="https://127.0.0.1/v1")._proxy is None
    monkeypatch.setenv("NO_PROXY", "api.openai.com")
    assert OpenAICompatClient("k")._proxy is None
    assert client.with_options(timeout=1)._proxy is None


def test_a_proxy_variable_of_no_use_warns_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "_warned", type(config._warned)())
    monkeypatch.setenv("ALL_PROXY", "socks5://localhost:1")
    with pytest.warns(UserWarning, match="socks5") as caught:
        OpenAICompatClient("k")
    assert caught[0].filename == __file__
    OpenAICompatClient("k")


def test_a_key_in_clear_text_warns_once_per_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "_warned", type(config._warned)())
    for wire in WIRES:
        with pytest.warns(InsecureTransportWarning) as caught:
            BLOCKING[wire](api_key="k", base_url=f"http://{wire}.example:80")
        assert caught[0].filename == __file__
        BLOCKING[wire](api_key="k2", base_url=f"http://{wire}.example:80")
    with pytest.warns(InsecureTransportWarning):
        OpenAICompatClient(base_url="http://h.example/v1", headers={"Authorization": "Bearer x"})
    # Nothing to steal, nobody to steal it, or nothing to read.
    OpenAICompatClient(base_url="http://nokey.example/v1")
    OpenAICompatClient("k", base_url="http://127.0.0.1/v1")
    OpenAICompatClient("k", base_url="https://tls.example/v1")
    monkeypatch.setattr(config, "_MAX_WARNED", 10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i in range(50):
            OpenAICompatClient("k", base_url=f"http://h{i}.example/v1")
    assert len(config._warned) <= 10


def test_a_tls_profile_for_each_choice_of_trust() -> None:
    import ssl

    def profile(**options: Any) -> Any:
        client = OpenAICompatClient("k", **options)
        client.build_request(HELLO)
        return client._made.route.tls_profile

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    assert profile() is None
    assert profile(ca_file="/x.pem") == profile(ca_file="/x.pem") != profile(ca_file="/y.pem")
    assert profile(ssl_context=context) == profile(ssl_context=context) != profile(ca_file="/x.pem")


# -- budgets ----------------------------------------------------------------------------------------------------------


def test_clients_of_one_credential_share_a_budget() -> None:
    def budget(key: str, **options: Any) -> Any:
        client = OpenAICompatClient(key, **options)
        client.build_request(HELLO, "m")
        kept.append(client)
        return client._made.budget

    kept: list[Any] = []
    assert budget("a") is budget("a")
    assert budget("a") is not budget("b")
    assert budget("a") is not budget("a", base_url="https://other.example/v1")
    one, other = ScriptedTransport([]), ScriptedTransport([])
    assert budget("a", transport=one) is budget("a", transport=one)
    assert budget("a", transport=one) is not budget("a", transport=other)
    assert budget("a", transport=one) is not budget("a")


def test_an_untouched_budget_leaves_nothing_behind() -> None:
    gc.collect()
    before = len(budgets._budgets)
    for i in range(5_000):
        OpenAICompatClient(f"key-{i}").build_request(HELLO)
    gc.collect()
    assert len(budgets._budgets) - before < 10
    assert len(budgets._spent) <= budgets.MAX_BUDGETS


def test_a_spent_budget_outlives_its_clients_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "MAX_BUDGETS", 3)
    monkeypatch.setattr(budgets, "_spent", type(budgets._spent)())
    keys = [(0, ("https", f"{i}.example", 443), None) for i in range(5)]
    for key in keys:
        budgets.SharedBudget(key).take(14, 0.0)
    assert list(budgets._spent) == keys[2:]
    budgets._spent[keys[4]].refund(14)
    assert list(budgets._spent) == keys[2:4]


@pytest.mark.parametrize("mode", MODES)
def test_an_empty_budget_raises_the_original_error(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RetryBudget.__init__, "__defaults__", (28, 0))
    transport = scripted(mode, *[ScriptedReply(error=ScriptedError("down", 500))] * 9)

    async def scenario(client: Any) -> None:
        with pytest.raises(LLMServerError) as caught:
            await client.chat(HELLO)
        assert caught.value.retry_suppressed == "budget"
        assert len(caught.value.attempts) == 3
        with pytest.raises(LLMServerError) as caught:
            await client.with_options(timeout=5.0).chat(HELLO)
        assert len(caught.value.attempts) == 1

    perform(mode, scenario, transport=transport)


@pytest.mark.parametrize("alike", [True, 1.0])
def test_what_only_equals_a_number_is_refused_also_after_that_number(alike: Any) -> None:
    OpenAICompatClient("k", max_retries=1)
    with pytest.raises(LLMBadRequestError, match="max_retries"):
        OpenAICompatClient("k", max_retries=alike)


# -- addresses that say more than where the API begins ----------------------------------------------------------------

DEPLOYED = "/openai/deployments/d/chat/completions?api-version=2024-10-21"


@pytest.mark.parametrize(
    ("base_url", "version", "target"),
    [
        ("https://r.openai.azure.com/openai/v1", "preview", "/openai/v1/chat/completions?api-version=preview"),
        ("https://r.openai.azure.com/openai/v1/?api-version=preview", None, "/openai/v1/chat/completions?api-version=preview"),
        ("https://r.openai.azure.com/openai/v1?api-version=preview", "preview", "/openai/v1/chat/completions?api-version=preview"),
        ("https://gw.example/azure/openai/v1", "preview", "/azure/openai/v1/chat/completions?api-version=preview"),
        ("https://r.openai.azure.com?api-version=2024-10-21", None, DEPLOYED),
        ("https://r.openai.azure.com/?api-version=2024-10-21", "2024-10-21", DEPLOYED),
        ("https://r.openai.azure.com/openai/deployments/d?api-version=2024-10-21", None, DEPLOYED),
        ("https://r.openai.azure.com/openai/deployments/d?a=b", "2024-10-21",
         "/openai/deployments/d/chat/completions?a=b&api-version=2024-10-21"),
        ("https://r.openai.azure.com/openai/v1", None, "/openai/v1/chat/completions"),
    ],
)  # fmt: skip
def test_azure_s_version_is_sent_once(
    base_url: str, version: str | None, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if version is None:
        monkeypatch.setenv("OPENAI_API_VERSION", "2020-01-01")  # what the URL says itself is said
    client = OpenAICompatClient("k", "d", base_url=base_url, api_version=version)
    assert client.dialect == "azure"
    assert client.build_request(HELLO).target == target
    assert client.with_options(timeout=1).build_request(HELLO).target == target


def test_two_versions_are_refused() -> None:
    with pytest.raises(LLMBadRequestError, match="^api_version and the api-version in base_url differ"):
        OpenAICompatClient("k", "d", base_url="https://r.openai.azure.com/openai/v1?api-version=a", api_version="b")


@pytest.mark.parametrize("ending", ["/chat/completions", "/responses", "/v1/messages", "/completions", "/embeddings"])
@pytest.mark.parametrize(
    "start",
    ["https://api.groq.com/openai/v1", "https://r.openai.azure.com/openai/deployments/d", "http://127.0.0.1:8080/v1"],
)
@pytest.mark.parametrize("end", ["", "/", "?api-version=x"])
def test_an_endpoint_is_no_base_url(start: str, ending: str, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = f"ends in {ending}, which the client adds by itself: leave it out"
    with pytest.raises(LLMBadRequestError, match=f"^base_url {words}"):
        OpenAICompatClient("k", "m", base_url=start + ending + end)
    with pytest.raises(LLMBadRequestError, match=f"^base_url {words}"):
        parse_base_url(start + ending + end)
    monkeypatch.setenv("OPENAI_BASE_URL", start + ending + end)
    with pytest.raises(LLMBadRequestError, match=f"^OPENAI_BASE_URL {words}"):
        OpenAICompatClient("k", "m")


@pytest.mark.parametrize("query", ["key=SECRET-0123456789", "a=b&token=SECRET-0123456789", "SECRET-0123456789"])
@pytest.mark.parametrize("kind", [OpenAICompatClient, AsyncOpenAICompatClient, AnthropicClient, OllamaClient])
def test_a_query_is_not_shown(kind: Any, query: str) -> None:
    client = kind(api_key="k", model="m", base_url=f"https://h.example/x?{query}")
    client._make()
    shown = repr(client) + repr(client._base_url) + repr(client._made.codec.endpoint) + repr(client._made.codec)
    assert "SECRET" not in shown
    assert "https://h.example/x?***" in repr(client)
    assert "?" not in repr(kind(api_key="k", model="m", base_url="https://h.example/x"))
