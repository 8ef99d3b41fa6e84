"""Refusals through the public clients in all modes: what is asked again, after how long, and who is named for it."""

from __future__ import annotations

import json
import socket
from time import monotonic
from typing import Any

import pytest

from cloud.llm import LLMConnectionError, LLMContextLengthError, LLMError, LLMQuotaError, LLMRateLimitError
from sans_io.http.rate_limits import RateLimitState
from tests import wire_server as w
from tests.callers import HELLO, MODES, Mode, chat, drain

QUOTA = {
    "code": 429, "message": "You exceeded your current quota", "status": "RESOURCE_EXHAUSTED",
    "details": [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": "GenerateRequestsPerDayPerProject"}]},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.01s"},
    ],
}  # fmt: skip


def refused(status: str, *fields: str, error: object = None) -> bytes:
    body = json.dumps([{"error": error}]).encode()
    return w.reply(*("", *fields), status=status, content=body)


async def failure(client: Any, stream: bool) -> LLMError:
    with pytest.raises(LLMError) as caught:
        if stream:
            await drain(client.chat_stream(HELLO))
        else:
            await chat(client)
    return caught.value


@pytest.mark.parametrize("stream", [False, True], ids=["chat", "stream"])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_limit_per_day_is_asked_once(mode: Mode, stream: bool) -> None:
    with w.WireServer(w.forever(w.read(), w.send(refused("429 Too Many", error=QUOTA)))) as server:
        client = mode.client(f"{server.url}/v1")

        async def main() -> None:
            error = await failure(client, stream)
            assert isinstance(error, LLMQuotaError)
            assert len(error.attempts) == 1

        callers = len(mode.run(main))
        assert sum(len(peer.requests) for peer in server.accepted) == callers


@pytest.mark.parametrize("stream", [False, True], ids=["chat", "stream"])
@pytest.mark.parametrize("wire", ["openai", "anthropic", "ollama"])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_wait_in_the_body_is_kept(mode: Mode, wire: str, stream: bool) -> None:
    hint = {"message": "m", "details": [{"@type": "google.rpc.RetryInfo", "retryDelay": "0.35s"}]}
    head = "x-ratelimit-remaining-requests: 0"
    with w.WireServer(w.forever(w.read(), w.send(refused("429 Too Many", head, error=hint)))) as server:
        client = mode.client(server.url + ("/v1" if wire == "openai" else ""), wire, max_retries=1)

        async def main() -> None:
            began = monotonic()
            error = await failure(client, stream)
            assert isinstance(error, LLMRateLimitError)
            assert error.retry_after == 0.35
            assert monotonic() - began >= 0.35
            assert [attempt.delay_reason for attempt in error.attempts] == ["server", None]
            assert error.rate_limits == {("requests", ""): RateLimitState(remaining=0)}

        mode.run(main)


# -- proxies --


@pytest.mark.parametrize("stream", [False, True], ids=["chat", "stream"])
@pytest.mark.parametrize(
    ("status", "tries", "code"),
    [
        ("502 Bad Gateway", 2, "unreachable"), ("503 Service Unavailable", 2, "unreachable"), ("504 Gateway Timeout", 2, "unreachable"),
        ("403 Forbidden", 1, "proxy"), ("407 Proxy Authentication Required", 1, "proxy"), ("401 Unauthorized", 1, "proxy"),
        ("500 Odd", 1, "proxy"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_gateway_s_answer_to_connect_is_tried_again(
    mode: Mode, stream: bool, status: str, tries: int, code: str
) -> None:
    answer = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()
    with w.WireServer((w.read(), w.send(answer), w.close())) as proxy:
        client = mode.client("https://api.example/v1", proxy=proxy.url, max_retries=1)

        async def main() -> None:
            error = await failure(client, stream)
            assert isinstance(error, LLMConnectionError)
            assert error.code == code
            assert status[:3] in error.message
            assert "proxy" in error.message
            assert len(error.attempts) == tries
            assert not error.may_be_billed
            assert ("user name and password" in error.message) == (status[:3] in ("401", "407"))

        callers = len(mode.run(main))
        assert len(proxy.accepted) == tries * callers


@pytest.mark.parametrize("stream", [False, True], ids=["chat", "stream"])
@pytest.mark.parametrize("wire", ["openai", "anthropic", "ollama"])
@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.filterwarnings("ignore::cloud.llm.InsecureTransportWarning")
def test_a_forwarding_proxy_that_wants_a_password_is_named(mode: Mode, wire: str, stream: bool) -> None:
    page = b"<html><title>407</title></html>"
    answer = b"HTTP/1.1 407 Wants a password\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b" % (
        len(page),
        page,
    )
    with w.WireServer(w.forever(w.read(), w.send(answer))) as proxy:
        url = proxy.url.replace("://", "://user:hunter22hunter22@")
        client = mode.client("http://10.255.0.1:8000" + ("/v1" if wire == "openai" else ""), wire, proxy=url)

        async def main() -> None:
            error = await failure(client, stream)
            assert isinstance(error, LLMConnectionError)
            assert (error.code, error.status_code, len(error.attempts)) == ("proxy", 407, 1)
            assert error.message == (
                "the proxy refused to connect to http://10.255.0.1:8000: 407 Wants a password"
                " (check the user name and password in the proxy URL)"
            )
            assert "hunter22hunter22" not in repr(vars(error))

        mode.run(main)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.filterwarnings("ignore::cloud.llm.InsecureTransportWarning")
def test_a_dead_proxy_is_named_as_the_proxy(mode: Mode, scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = mode.client(f"{scheme}://api.example/v1", proxy=f"http://u:secretsecret@127.0.0.1:{port}", max_retries=0)

    async def main() -> None:
        error = await failure(client, False)
        assert isinstance(error, LLMConnectionError)
        assert error.code == "refused"
        assert error.message.startswith(
            f"the proxy http://127.0.0.1:{port} refused the connection; is the proxy running?"
        )
        assert "secretsecret" not in error.message

    mode.run(main)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_407_of_a_server_is_no_proxy_s(mode: Mode) -> None:
    with w.WireServer(w.forever(w.read(), w.send(w.refusal("407 No", "odd")))) as server:
        client = mode.client(f"{server.url}/v1")

        async def main() -> None:
            error = await failure(client, False)
            assert error.status_code == 407
            assert "proxy" not in error.message

        mode.run(main)


@pytest.mark.parametrize("stream", [False, True], ids=["chat", "stream"])
@pytest.mark.parametrize("wire", ["openai", "anthropic", "ollama"])
@pytest.mark.parametrize(("size", "cut"), [(70_000, False), (300_000, False), (2_000_000, True)])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_long_explanation_still_says_what_it_is(mode: Mode, wire: str, stream: bool, size: int, cut: bool) -> None:
    error: dict[str, object] = {
        "type": "invalid_request_error",
        "code": "context_length_exceeded",
        "message": "x" * size,
    }
    if not cut:
        error["code"] = error.pop("code")  # behind the message
    answer = w.reply(status="400 Bad Request", content=json.dumps({"type": "error", "error": error}).encode())
    with w.WireServer((w.read(), w.send(answer), w.close())) as server:
        client = mode.client(server.url + ("/v1" if wire == "openai" else ""), wire)

        async def main() -> None:
            failed = await failure(client, stream)
            assert isinstance(failed, LLMContextLengthError)
            assert (failed.code, failed.error_type) == ("context_length_exceeded", "invalid_request_error")
            assert ("was dropped" in failed.message) == cut
            assert len(failed.message) < 700

        mode.run(main)
