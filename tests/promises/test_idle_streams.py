"""On real sockets, in every mode: keep-alives of each wire keep no stream alive, and content of each kind does.

All kinds are rows of tests/calls/test_content.py, on virtual time; here are some of them, through the public clients.
"""

from __future__ import annotations

from time import monotonic

import pytest

from cloud.llm import LLMError, LLMTimeoutError, Timeouts
from tests.callers import BUSY, HELLO, IN_THREADS, MODES, Mode, drain, settled
from tests.calls.test_content import CONTENT, KEEPALIVES, REPETITIONS, WIRES, event, step
from tests.wire_server import LAST, WireServer, chunk, drip, head, read, send

each_mode = pytest.mark.parametrize("mode", MODES, ids=str)
IDLE = 0.3
LATE = 0.05


async def failure(mode: Mode, wire: str, url: str, timeout: Timeouts) -> LLMError:
    name = "ollama" if wire == "pull" else wire
    client = mode.client(url + ("/v1" if name == "openai" else ""), wire=name, timeout=timeout, max_retries=0)
    try:
        with pytest.raises(LLMError) as caught:
            await (settled(client.pull_model(f"m{url[-5:]}")) if wire == "pull" else drain(client.chat_stream(HELLO)))
    finally:
        client._transport.close_idle()
    return caught.value


def stream_head(wire: str) -> bytes:
    return head("200 OK", "Transfer-Encoding: chunked", type_=WIRES[wire].media.decode())


@each_mode
@pytest.mark.parametrize("committed", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("wire", "kind"),
    [
        ("openai", "an empty object"),
        ("openai", "a role with empty content"),
        ("openai", "an empty tool fragment"),
        ("openai", "a named event with data"),
        ("anthropic", "a ping"),
        ("anthropic", "the start of the message"),
        ("anthropic", "usage"),
        ("ollama", "a blank line"),
        ("ollama", "empty content"),
        ("pull", "a line without a status"),
    ],
)
def test_keepalives_do_not_keep_a_stream_alive(mode: Mode, wire: str, kind: str, committed: bool) -> None:
    begun = WIRES[wire].start + (WIRES[wire].text if committed else b"")
    again = chunk(KEEPALIVES[wire, kind])
    script = (
        read(), send(stream_head(wire) + (chunk(begun) if begun else b"")), drip(again * 400, every=0.03, size=len(again))
    )  # fmt: skip
    timeout = Timeouts(idle=IDLE) if committed or wire == "pull" else Timeouts(first_token=IDLE)
    # Whoever asks for the same download later shares the failure of the first to ask, or its own time is over first; what
    # it does not see is why nothing came.
    follows = wire == "pull" and mode is IN_THREADS
    least = 0.0 if follows else IDLE
    codes = {"idle_keepalive_only"} | ({"first_token_timeout", "idle_timeout"} if follows else set())
    with WireServer(script) as server:

        async def main() -> None:
            began = monotonic()
            error = await failure(mode, wire, server.url, timeout)
            assert least <= monotonic() - began <= IDLE + LATE + BUSY
            assert type(error) is LLMTimeoutError
            assert error.code in codes

        mode.run(main)


@each_mode
@pytest.mark.parametrize(
    ("wire", "pieces"),
    [
        ("openai", [CONTENT["openai", "reasoning"], CONTENT["openai", "arguments"], CONTENT["openai", "audio"]]),
        ("anthropic", [CONTENT["anthropic", "thinking"], *(
            event("content_block_delta", index=5, delta={"type": "signature_delta", "signature": f"s{n}"}) for n in range(3)
        )]),
        ("ollama", [CONTENT["ollama", "thinking"], CONTENT["ollama", "a tool call"], REPETITIONS["ollama", "an image"]]),
        ("pull", [step("pulling a", digest="sha256:a", total=10, completed=n) for n in range(3)]),
    ],
    ids=["openai", "anthropic", "ollama", "pull"],
)  # fmt: skip
def test_content_without_text_keeps_a_stream_alive(mode: Mode, wire: str, pieces: list[bytes]) -> None:
    """Each gap is far below the idle time, all of them together are above it."""
    script = (
        read(), send(stream_head(wire) + chunk(WIRES[wire].start + WIRES[wire].text)),
        *(drip(chunk(piece), every=0.6, size=1 << 20) for piece in pieces), send(LAST),
    )  # fmt: skip
    with WireServer(script) as server:

        async def main() -> None:
            error = await failure(mode, wire, server.url, Timeouts(idle=1.7))
            assert error.code == "truncated", "it was read to its end, which is none of its wire"

        mode.run(main)
