"""A 500 that says the request is wrong: recognised by its whole message, and not tried again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cloud.llm import LLMBadRequestError, LLMServerError
from sans_io.providers.failures import decode_failure
from tests.cloud.kit import HELLO, MODES, perform, scripted
from transports.testing import AsyncScriptedTransport, ScriptedError, ScriptedReply, ScriptedTransport

#: As Ollama 0.17.4 and llama.cpp's server sent them.
REFUSALS = [
    'option "temperature" must be of type float32',
    'option "num_ctx" must be of type integer',
    'option "use_mmap" must be of type boolean',
    'option "stop" must be of type array',
    'option "stop" must be of an array of strings',
    'invalid format: "\\"xml\\""; expected "json" or a valid JSON Schema object',
    'invalid format: "3"; expected "json" or a valid JSON Schema object',
    "invalid JSON schema in format",
    "unqualified name: registry.ollama.ai/library/a b:latest",
    "quantization is only supported for F16 and F32 models",
    "unsupported quantization type NONSENSE - supported types are F32, F16, Q4_K_S, Q4_K_M, Q8_0",
    "json: cannot unmarshal number into Go value of type []string",
    "invalid digest format",
    f"open /usr/share/ollama/.ollama/models/blobs/sha256-{64 * '0'}: no such file or directory",
    "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
]
#: What may pass, or only quotes such a message.
FAILURES = [
    "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, check ollama "
    "server logs for details",
    "llama runner process has terminated: signal: killed",
    "model requires more system memory (5.6 GiB) than is available (2.1 GiB)",
    'the tool answered: option "temperature" must be of type float32',
    "failed to parse tool call: raw='invalid JSON schema in format'",
    "could not find an available sequence",
    "unexpected server status: llm server loading model",
]
WIRES = ("ollama", "openai")


def body(wire: str, message: str) -> bytes:
    error: Any = message
    if wire == "openai":  # of Ollama's /v1, and of llama.cpp
        error = {"message": message, "type": "api_error", "param": None, "code": None}
    return json.dumps({"error": error}).encode()


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("message", REFUSALS)
def test_it_is_a_bad_request(wire: str, message: str) -> None:
    error = decode_failure(provider="ollama", status=500, headers=(), body=body(wire, message))
    assert type(error) is LLMBadRequestError
    assert error.status_code == 500
    assert message in str(error)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("message", FAILURES)
def test_the_others_are_the_servers(wire: str, message: str) -> None:
    error = decode_failure(provider="ollama", status=500, headers=(), body=body(wire, message))
    assert type(error) is LLMServerError


@pytest.mark.parametrize("status", [429, 502, 503, 529])
def test_another_status_says_something_else(status: int) -> None:
    error = decode_failure(provider="ollama", status=status, headers=(), body=body("ollama", REFUSALS[0]))
    assert type(error) is not LLMBadRequestError


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("mode", MODES)
def test_it_is_asked_once(mode: str, wire: str, stream: bool) -> None:
    for message, attempts in ((REFUSALS[0], 1), (REFUSALS[7], 1), (FAILURES[0], 3)):
        refusal = ScriptedReply(error=ScriptedError(message, 500))
        transport = scripted(mode, *[refusal] * 5)

        async def scenario(client: Any, message: str = message, attempts: int = attempts) -> None:
            with pytest.raises(LLMBadRequestError if attempts == 1 else LLMServerError) as caught:
                if stream:
                    async with client.chat_stream(HELLO, model="llama3.2") as texts:
                        async for _ in texts:
                            pass
                else:
                    await client.chat(HELLO, model="llama3.2")
            assert len(caught.value.attempts) == attempts

        perform(mode, scenario, wire, transport=transport, max_retries=2)
        assert len(transport.requests) == attempts


@pytest.mark.parametrize("mode", MODES)
def test_it_may_come_as_a_line_of_a_stream(mode: str) -> None:
    """Of an answer, before any text, or of a model that is made."""
    line = body("ollama", REFUSALS[1]) + b"\n"
    reply = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ncontent-length: %d\r\n\r\n" % len(line) + line
    kind = ScriptedTransport if mode == "blocking" else AsyncScriptedTransport
    transport = kind([reply] * 2)

    async def scenario(client: Any) -> None:
        for act in (lambda: client.chat_stream(HELLO, model="m").until_done(), lambda: client.create_model("m", "x")):
            with pytest.raises(LLMBadRequestError) as caught:
                await act()
            assert len(caught.value.attempts) == 1

    perform(mode, scenario, "ollama", transport=transport)
