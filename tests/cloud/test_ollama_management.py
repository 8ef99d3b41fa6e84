"""Ollama's models: shown, created, copied, deleted, loaded and let go, by the names that Ollama knows them by."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cloud.llm import (
    AsyncOllamaClient,
    LLMBadRequestError,
    LLMConnectionError,
    LLMError,
    LLMNotFoundError,
    OllamaClient,
    PullProgress,
    RunningModel,
)
from cloud.llm.ollama_models import FileContent, model_info, running_models
from sans_io.calls.call import SEND_PIECE
from sans_io.http.proxies import parse_proxy
from sans_io.http.urls import parse_base_url
from sans_io.providers.ollama import management
from sans_io.providers.ollama.codec import OllamaCodec
from tests.cloud.kit import MODES, perform, run, scripted
from tests.cloud.test_ollama_models import pulls
from transports.faults import Fault
from transports.testing import AsyncScriptedTransport, ScriptedTransport
from transports.testing.servers.connection import Piece
from transports.testing.servers.loopback import LoopbackServer


def paths(transport: Any) -> list[str]:
    return [request.path for request in transport.requests]


def bodies(transport: Any, path: str) -> list[Any]:
    return [request.json() for request in transport.requests if request.path == path]


# -- names ------------------------------------------------------------------------------------------------------------

HERE = ["llama3.2", "LLAMA3.2", "llama3.2:LATEST", "library/llama3.2", "registry.ollama.ai/library/llama3.2:latest",
        "Registry.Ollama.ai/Library/Llama3.2", "https://registry.ollama.ai/library/llama3.2", " llama3.2 ",
        "QWEN2.5:3B"]  # fmt: skip
NOT_HERE = ["llama3.2:1b", "user/llama3.2", "hf.co/library/llama3.2", "llama3", "llama3.2@sha256:" + 64 * "0"]


@pytest.mark.parametrize("mode", MODES)
def test_a_model_is_known_by_all_its_names(mode: str) -> None:
    transport = scripted(mode)

    async def scenario(client: Any) -> None:
        for name in HERE:
            assert await client.has_model(name) is True, name
            assert await client.ensure_model(name) is True
        for name in NOT_HERE:
            assert await client.has_model(name) is False, name
        assert pulls(transport) == 0

    perform(mode, scenario, "ollama", transport=transport, api_key=None)


@pytest.mark.parametrize("mode", MODES)
def test_a_pull_says_insecure_only_where_it_is_asked_for(mode: str) -> None:
    transport = scripted(mode)

    async def scenario(client: Any) -> None:
        assert await client.pull_model("a") is True
        assert await client.pull_model("http://127.0.0.1:5000/library/b", insecure=True) is True
        assert await client.ensure_model("c", insecure=True) is True

    perform(mode, scenario, "ollama", transport=transport, api_key=None)
    assert bodies(transport, "/api/pull") == [
        {"model": "a:latest", "stream": True},
        {"model": "http://127.0.0.1:5000/library/b:latest", "stream": True, "insecure": True},
        {"model": "c:latest", "stream": True, "insecure": True},
    ]


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (("phi", False), ("PHI:latest", False), True),
        (("phi", False), ("registry.ollama.ai/library/phi", False), True),
        (("http://h:5000/a/b", True), ("http://H:5000/a/b:latest", True), True),
        (("phi", False), ("phi", True), False),
        (("h:5000/a/b", False), ("http://h:5000/a/b", False), False),
    ],
)
def test_downloads_of_one_model_under_two_names_are_shared(
    one: tuple[str, bool], other: tuple[str, bool], shared: bool
) -> None:
    """Unless one of them may fail where the other does not."""
    client = OllamaClient()
    assert (client._pull(*one)[1] == client._pull(*other)[1]) is shared


# -- each operation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_the_life_of_a_model(mode: str, tmp_path: Path) -> None:
    transport = scripted(mode)
    file = tmp_path / "tiny.gguf"
    file.write_bytes(b"GGUF" + bytes(range(256)) * 1000)
    steps: list[PullProgress] = []

    async def scenario(client: Any) -> None:
        assert await client.create_model("tiny", files={"tiny.gguf": file}, on_progress=steps.append) is True
        assert steps[-1] == PullProgress("success")
        assert await client.has_model("TINY") is True
        shown = await client.show_model("tiny")
        assert (shown.details.format, shown.details.parameter_size) == ("gguf", "3B")
        assert (shown.capabilities, shown.context_length) == (("completion", "tools"), 32768)
        assert shown.template == "{{ .Prompt }}"
        assert shown.raw["license"] == shown.license == "test"
        assert await client.running_models() == []
        assert await client.load_model("tiny", keep_alive="10m", options={"num_ctx": 8192}) is True
        [running] = await client.running_models()
        assert isinstance(running, RunningModel)
        assert (running.name, running.size, running.size_vram) == ("tiny:latest", 1_900_000_487, 0)
        assert running.expires_at == datetime(2026, 11, 22, 12, 5, 0, 123456, tzinfo=UTC)
        assert await client.unload_model("tiny") is True
        assert await client.running_models() == []
        assert await client.copy_model("tiny", "other/tiny:v1") is True
        assert await client.delete_model("tiny") is True
        assert await client.has_model("tiny") is False
        assert await client.has_model("other/tiny:v1") is True

    perform(mode, scenario, "ollama", transport=transport, api_key=None)
    assert bodies(transport, "/api/generate") == [
        {"model": "tiny", "stream": False, "keep_alive": "10m", "options": {"num_ctx": 8192}},
        {"model": "tiny", "stream": False, "keep_alive": 0},
    ]
    assert bodies(transport, "/api/copy") == [{"source": "tiny", "destination": "other/tiny:v1"}]
    assert bodies(transport, "/api/delete") == [{"model": "tiny"}]


@pytest.mark.parametrize("mode", MODES)
def test_everything_that_a_model_is_made_of_arrives(mode: str, tmp_path: Path) -> None:
    transport = scripted(mode)
    adapter = tmp_path / "lora.gguf"
    adapter.write_bytes(b"GGUF adapter")

    async def scenario(client: Any) -> None:
        digest = await client.create_blob(adapter)
        assert digest.startswith("sha256:")
        assert await client.create_model(
            "mario",
            "llama3.2",
            adapters={"lora.gguf": digest},
            template="{{ .Prompt }}",
            system="You are Mario.",
            parameters={"temperature": 0, "stop": ["a", "b"]},
            messages=[{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
            license=["MIT", "Apache-2.0"],
            quantize="q8_0",
        )
        assert bodies(transport, "/api/create") == [
            {
                "model": "mario",
                "stream": True,
                "from": "llama3.2",
                "template": "{{ .Prompt }}",
                "system": "You are Mario.",
                "quantize": "q8_0",
                "adapters": {"lora.gguf": digest},
                "parameters": {"temperature": 0, "stop": ["a", "b"]},
                "messages": [{"role": "user", "content": "Hi"}],
                "license": ["MIT", "Apache-2.0"],
            }
        ]

    perform(mode, scenario, "ollama", transport=transport, api_key=None)


@pytest.mark.parametrize("mode", MODES)
def test_a_file_that_the_server_has_is_not_sent_again(mode: str, tmp_path: Path) -> None:
    transport = scripted(mode)
    file = tmp_path / "tiny.gguf"
    file.write_bytes(b"GGUF" + b"x" * 5000)

    async def scenario(client: Any) -> None:
        for name in ("one", "two"):
            assert await client.create_model(name, files={"tiny.gguf": file})
        digest = await client.create_blob(file)
        assert await client.create_model("three", files={"tiny.gguf": digest})

    perform(mode, scenario, "ollama", transport=transport, api_key=None)
    uploads = [request for request in transport.requests if request.method == "POST" and "/blobs/" in request.path]
    assert [request.body for request in uploads] == [file.read_bytes()]
    assert uploads[0].header("content-type") == "application/octet-stream"
    assert sum(request.method == "HEAD" for request in transport.requests) == 3


#: What is asked for -> the error's kind and words.
REFUSALS: dict[str, tuple[Callable[[Any], Any], type[LLMError], str]] = {
    "show": (lambda client: client.show_model("no-such"), LLMNotFoundError, "model 'no-such' not found"),
    "delete": (lambda client: client.delete_model("no-such"), LLMNotFoundError, "model 'no-such' not found"),
    "copy": (lambda client: client.copy_model("no-such", "b"), LLMNotFoundError, 'model "no-such" not found'),
    "load": (lambda client: client.load_model("no-such"), LLMNotFoundError, "model 'no-such' not found"),
    "unload": (lambda client: client.unload_model("no-such"), LLMNotFoundError, "model 'no-such' not found"),
    "an invalid name": (
        lambda client: client.create_model("a b", "llama3.2"),
        LLMBadRequestError,
        "invalid model name",
    ),
    "a copy's name": (lambda client: client.copy_model("llama3.2", "a:b:c"), LLMBadRequestError, "is invalid"),
    "an option": (
        lambda client: client.load_model("llama3.2", options={"num_ctx": "8k"}),
        LLMBadRequestError,
        'option "num_ctx" must be of type integer',
    ),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", REFUSALS)
def test_a_refusal_is_one_attempt(mode: str, what: str) -> None:
    transport = scripted(mode)
    act, kind, words = REFUSALS[what]

    async def scenario(client: Any) -> None:
        with pytest.raises(kind, match=words.replace("(", r"\(")) as caught:
            await act(client)
        assert caught.value.provider == "ollama"

    perform(mode, scenario, "ollama", transport=transport, api_key=None)
    assert len(transport.requests) == 1


DIGEST = "sha256:" + 64 * "a"
MISTAKES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "no name": (lambda client: client.show_model(""), "model_name must be a non-empty printable string"),
    "a name that is none": (lambda client: client.delete_model(None), "model_name must be"),
    "no source": (lambda client: client.copy_model(" ", "b"), "source must be"),
    "no destination": (lambda client: client.copy_model("a", 3), "destination must be"),
    "nothing to make it of": (lambda client: client.create_model("m"), "needs from_=, the name of a model, or files="),
    "two things to make it of": (
        lambda client: client.create_model("m", "llama3.2", files={"f": DIGEST}),
        "not both: the server ignores the files",
    ),
    "a path as text": (
        lambda client: client.create_model("m", files={"f": "model.gguf"}),
        r"files\['f'\] must be a pathlib.Path of the file, or the digest",
    ),
    "a short digest": (lambda client: client.create_model("m", "x", adapters={"f": "sha256:12"}), r"adapters\['f'\]"),
    "a list of files": (lambda client: client.create_model("m", files=["f"]), "files must be a dict like"),
    "parameters as text": (
        lambda client: client.create_model("m", "x", parameters="temperature 0"),
        "parameters must be a dict like .* not str",
    ),
    "a system that is none": (lambda client: client.create_model("m", "x", system=["a"]), "system must be a string"),
    "a license that is none": (lambda client: client.create_model("m", "x", license=5), "license must be a string"),
    "a list of licenses that are none": (
        lambda client: client.create_model("m", "x", license=["MIT", None]),
        "license must be a string",
    ),
    "what JSON has not": (
        lambda client: client.create_model("m", "x", parameters={"temperature": float("nan")}),
        "parameters.temperature",
    ),
    "messages of another form": (
        lambda client: client.create_model("m", "x", messages="Hi"),
        "messages must be a list",
    ),
    "a time that is none": (lambda client: client.load_model("m", keep_alive=True), "keep_alive must be a number"),
    "no time": (lambda client: client.load_model("m", keep_alive=0), r"call unload_model\(\)"),
    "no time in words": (lambda client: client.load_model("m", keep_alive="0m0s"), r"call unload_model\(\)"),
    "no time in digits": (lambda client: client.load_model("m", keep_alive="0"), r"call unload_model\(\)"),
    "options as a list": (lambda client: client.load_model("m", options=[1]), "options must be a dict like"),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_before_anything_is_sent(mode: str, mistake: str) -> None:
    transport = scripted(mode)
    act, words = MISTAKES[mistake]

    async def scenario(client: Any) -> None:
        with pytest.raises(LLMBadRequestError, match=words):
            await act(client)

    perform(mode, scenario, "ollama", transport=transport, api_key=None)
    assert not transport.requests


@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_uploaded_for_a_model_that_cannot_be_made(mode: str, tmp_path: Path) -> None:
    transport = scripted(mode)
    file, empty = tmp_path / "tiny.gguf", tmp_path / "empty.gguf"
    file.write_bytes(b"GGUF")
    empty.touch()

    async def scenario(client: Any) -> None:
        with pytest.raises(LLMBadRequestError, match="parameters must be"):
            await client.create_model("m", files={"f.gguf": file}, parameters=3)
        with pytest.raises(LLMBadRequestError, match="empty.gguf is empty"):
            await client.create_model("m", files={"f.gguf": empty})
        with pytest.raises(FileNotFoundError):
            await client.create_model("m", files={"f": tmp_path / "missing.gguf"})

    perform(mode, scenario, "ollama", transport=transport, api_key=None)
    assert not transport.requests


@pytest.mark.parametrize("mode", MODES)
def test_a_deletion_that_may_have_happened_is_not_tried_again(mode: str) -> None:
    """The second attempt would say that the model is not there."""
    kind = ScriptedTransport if mode == "blocking" else AsyncScriptedTransport
    transport = kind([[Piece(b"", 1.0, "rst")]])

    async def scenario(client: Any) -> None:
        with pytest.raises(LLMError) as caught:
            await client.delete_model("m")
        assert len(caught.value.attempts) == 1
        assert not isinstance(caught.value, LLMNotFoundError)

    perform(mode, scenario, "ollama", transport=transport)


@pytest.mark.parametrize("mode", MODES)
def test_nobody_answers(mode: str) -> None:
    kind = ScriptedTransport if mode == "blocking" else AsyncScriptedTransport

    async def scenario(client: Any) -> None:
        for act in (client.running_models, lambda: client.show_model("m"), lambda: client.create_model("m", "x")):
            with pytest.raises(LLMConnectionError):
                await act()

    perform(mode, scenario, "ollama", transport=kind([Fault("refused")] * 3), max_retries=0)


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, SEND_PIECE - 1, SEND_PIECE, 3 * SEND_PIECE + 7, 2 * 1024 * 1024 + 1])
@pytest.mark.parametrize("mode", MODES)
def test_a_file_arrives_as_it_is(mode: str, size: int, tmp_path: Path) -> None:
    file = tmp_path / "file with ünusual name.gguf"
    file.write_bytes(bytes(number % 251 for number in range(size)))
    with LoopbackServer() as server:
        make = OllamaClient if mode == "blocking" else AsyncOllamaClient

        async def upload() -> str:
            client = make(host=server.base_url("ollama"))
            digest: Any = client.create_blob(file)
            return str(digest if mode == "blocking" else await digest)

        digest = run(mode, upload)
        assert server.server.library.blobs == {digest: file.read_bytes()}


def test_an_upload_is_read_in_pieces_and_from_the_beginning_for_each_attempt(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"0123456789")
    codec = OllamaCodec(parse_base_url("http://127.0.0.1:9"))
    with FileContent(file) as content:
        assert list(content.hashing()) == [None]
        request = management.upload_blob(codec, content.digest, content).request
        assert request.body == b""
        assert "10 bytes" in repr(request)
        for proxy in (None, parse_proxy("http://127.0.0.1:3128")):
            wire = request.wire(proxy)
            whole, at = b"", 0
            while at < len(wire):
                piece = wire[at : at + 7]
                whole += piece
                at += len(piece)
            head, _, body = whole.partition(b"\r\n\r\n")
            assert body == b"0123456789"
            assert b"content-length: 10" in head.lower()
            assert head.startswith(
                b"POST http://127.0.0.1:9/api/blobs/sha256:" if proxy else b"POST /api/blobs/sha256:"
            )


@pytest.mark.parametrize("mode", MODES)
def test_a_file_that_becomes_shorter_is_named(mode: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"0123456789" * 1000)
    transport = scripted(mode)

    async def scenario(client: Any) -> None:
        has_blob = client._blob_exists

        def truncating(content: FileContent) -> Any:
            file.write_bytes(b"01")
            return has_blob(content)

        (client.blocking if mode == "blocking" else client)._blob_exists = truncating
        with pytest.raises(LLMBadRequestError, match="became shorter while it was sent"):
            await client.create_blob(file)
        assert await client.is_available() is True

    perform(mode, scenario, "ollama", transport=transport, api_key=None)
    assert transport.pool_stats().leased == 0


# -- records ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"details": None, "capabilities": None, "model_info": None, "modified_at": None},
        {"details": [], "capabilities": "tools", "model_info": [], "modified_at": "yesterday", "license": 3},
        {"details": {"families": None, "format": 3}, "capabilities": [1, None], "model_info": {"x.context_length": 5}},
    ],
)
def test_a_model_that_says_little_of_itself(raw: dict[str, Any]) -> None:
    shown = model_info(raw)
    assert (shown.context_length, shown.capabilities, shown.modified_at, shown.license) == (None, (), None, "")
    assert shown.details.families == ()
    assert pickle.loads(pickle.dumps(shown)) == shown


@pytest.mark.parametrize("raw", [{}, {"models": None}, {"models": []}, {"models": ["m", None]}])
def test_no_models_in_memory(raw: dict[str, Any]) -> None:
    assert running_models(raw) == []


def test_a_model_that_stays_for_good() -> None:
    [model] = running_models({"models": [{"model": "m", "expires_at": "2319-03-10T21:51:27.1234567+01:00"}]})
    assert model.name == "m"
    assert model.expires_at is not None
    assert model.expires_at.year == 2319
    assert model.size is None
