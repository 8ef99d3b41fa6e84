"""Our client beside the official one on a real Ollama: the same questions, the same answers, in all modes."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from cloud.llm import (
    LLMBadRequestError,
    LLMContextLengthError,
    LLMError,
    LLMNotFoundError,
    LLMStreamError,
    PullProgress,
)
from tests.callers import MODES, THREADS, Mode, chat, drain, pull, settled
from tests.providers.ollama.test_requests import ONE_MODEL, OTHER_MODELS
from tests.real_ollama.conftest import MODEL, PARAMETERS, TEMPLATE, RealOllama, Registry, official_text, serving

SAY = [{"role": "user", "content": "Say hello in five words."}]
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}
ANA = [{"role": "user", "content": "Ana is 30 years old. Give her name and age as JSON."}]
WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}

pytestmark = pytest.mark.parametrize("mode", MODES, ids=str)


def client_of(mode: Mode, server: RealOllama, **options: Any) -> Any:
    return mode.client(server.host, "ollama", **{"model": MODEL, "timeout": 900.0, **options})


async def streamed(client: Any, messages: Any, **options: Any) -> tuple[str, Any]:
    stream = client.chat_stream(messages, **options)
    text = "".join(await drain(stream))
    return text, stream.response


# -- chatting ---------------------------------------------------------------------------------------------------------


def test_an_answer_is_the_official_clients(mode: Mode, server: RealOllama) -> None:
    theirs = server.official.chat(MODEL, SAY, options={"num_predict": 8, "seed": 1})

    async def main() -> None:
        client = client_of(mode, server)
        whole = await chat(client, SAY, max_tokens=8, seed=1)
        text, response = await streamed(client, SAY, max_tokens=8, seed=1)
        assert whole.content == text == response.content == official_text(theirs)
        for ours in (whole, response):
            assert ours.finish_reason == {"stop": "stop", "length": "length"}[theirs.done_reason or ""]
            assert ours.usage.output_tokens == theirs.eval_count
            assert ours.usage.input_tokens is not None
            assert ours.model == MODEL

    mode.run(main)


def test_json_and_schemas(mode: Mode, server: RealOllama) -> None:
    theirs = server.official.chat(MODEL, ANA, format=SCHEMA, options={"num_predict": 60})

    async def main() -> None:
        client = client_of(mode, server)
        whole = await chat(client, ANA, response_format={"type": "json_schema", "json_schema": {"name": "p", "schema": SCHEMA}},
                           max_tokens=60)  # fmt: skip
        text, _ = await streamed(client, ANA, response_format=SCHEMA, max_tokens=60)
        assert whole.content == text == official_text(theirs)
        assert json.loads(text).keys() == {"name", "age"}
        anything = await chat(client, ANA, response_format="json", max_tokens=60)
        assert anything.content.lstrip().startswith("{")

    mode.run(main)


def test_tools_are_called_and_answered(mode: Mode, server: RealOllama) -> None:
    """A model of this size calls a tool when it has seen it called; the conversation goes on with the result."""
    conversation: list[Any] = []
    for city in ("Rome", "Oslo", "Lima", "Cairo"):
        conversation += [
            {"role": "user", "content": f"What is the weather in {city}?"},
            {"role": "assistant", "content": "", "tool_calls": [
                {"id": f"call_{city}", "type": "function",
                 "function": {"name": "get_weather", "arguments": json.dumps({"city": city})}}]},
            {"role": "tool", "tool_call_id": f"call_{city}", "content": "sunny"},
            {"role": "assistant", "content": f"It is sunny in {city}."},
        ]  # fmt: skip
    conversation.append({"role": "user", "content": "What is the weather in Paris?"})

    async def main() -> None:
        client = client_of(mode, server)
        whole = await chat(client, conversation, tools=[WEATHER], max_tokens=60)
        _, response = await streamed(client, conversation, tools=[WEATHER], max_tokens=60)
        for ours in (whole, response):
            [call] = ours.tool_calls
            assert (call.name, call.arguments) == ("get_weather", {"city": "Paris"})
            assert ours.finish_reason == "tool_calls"
        again = await chat(
            client, [*conversation, response.message, call.result("rainy")], tools=[WEATHER], max_tokens=20
        )
        assert again.content or again.tool_calls

    mode.run(main)


def test_what_it_refuses_is_refused_once(mode: Mode, server: RealOllama) -> None:
    async def refusal(client: Any, kind: type[LLMError], words: str, **options: Any) -> None:
        for stream in (False, True):
            with pytest.raises(kind, match=words) as caught:
                if stream:
                    await streamed(client, SAY, **options)
                else:
                    await chat(client, SAY, **options)
            assert len(caught.value.attempts) == 1
            assert caught.value.provider == "ollama"

    async def main() -> None:
        client = client_of(mode, server)
        await refusal(client, LLMNotFoundError, "not found.*ensure_model", model="no-such-model")
        await refusal(client, LLMBadRequestError, "does not support thinking", reasoning_effort="high")
        for options, words in (
            ({"options": {"num_ctx": "8k"}}, 'option "num_ctx" must be of type integer'),
            ({"options": {"stop": [1]}}, "must be of an array of strings"),
            ({"format": "xml"}, "invalid format"),
            ({"format": {"type": "nonsense"}}, "invalid JSON schema in format"),
            ({"keep_alive": "soon"}, "invalid duration"),
            ({"think": "weird"}, "invalid think value"),
        ):
            await refusal(client, LLMBadRequestError, words, extra_body=options)
        long = [{"role": "user", "content": "word " * 3000}]
        with pytest.raises(LLMContextLengthError):
            await chat(client, long, extra_body={"truncate": False})

    mode.run(main)


def test_its_openai_compatible_side(mode: Mode, server: RealOllama) -> None:
    theirs = server.official.chat(MODEL, SAY, options={"num_predict": 8})

    async def main() -> None:
        client = mode.client(f"{server.host}/v1", model=MODEL, timeout=900.0)
        whole = await chat(client, SAY, max_tokens=8, temperature=0)
        text, response = await streamed(client, SAY, max_tokens=8, temperature=0)
        assert whole.content == text == official_text(theirs)
        assert response.usage.output_tokens == theirs.eval_count
        assert f"{MODEL}:latest" in await settled(client.list_models())
        answer = await chat(client, ANA, response_format={"type": "json_schema", "json_schema": {"name": "p", "schema": SCHEMA}},
                            max_tokens=60, temperature=0)  # fmt: skip
        assert json.loads(answer.content).keys() == {"name", "age"}
        with pytest.raises(LLMNotFoundError):
            await chat(client, SAY, model="no-such-model")
        with pytest.raises(LLMBadRequestError) as caught:
            await chat(client, SAY, response_format={"type": "json_schema",
                                                     "json_schema": {"name": "p", "schema": {"type": "nonsense"}}})  # fmt: skip
        assert len(caught.value.attempts) == 1

    mode.run(main)


# -- models -----------------------------------------------------------------------------------------------------------


def test_names_mean_what_the_server_says_they_mean(mode: Mode, server: RealOllama) -> None:
    """Each pair of names: the server shows the second where the first is installed, or it does not."""
    known = [(one, other, True) for one, other in ONE_MODEL if one == "smol"]
    known += [(one, other, False) for one, other in OTHER_MODELS if one == "smol"]
    assert len(known) > 12

    async def main() -> None:
        client = client_of(mode, server)
        for _, name, same in known:
            assert await settled(client.has_model(name)) is same, name
            try:
                await settled(client.show_model(name))
                shown = True
            except (LLMNotFoundError, LLMBadRequestError):
                shown = False
            assert shown is same, name

    mode.run(main)


def test_shown_as_the_official_client_shows_it(mode: Mode, server: RealOllama) -> None:
    theirs = server.official.show(MODEL)

    async def main() -> None:
        ours = await settled(client_of(mode, server).show_model(MODEL))
        assert theirs.details is not None
        assert ours.details.family == theirs.details.family == "llama"
        assert ours.details.quantization_level == theirs.details.quantization_level
        assert list(ours.capabilities) == theirs.capabilities
        assert ours.template == theirs.template == TEMPLATE
        assert sorted(ours.parameters.splitlines()) == sorted((theirs.parameters or "").splitlines())
        assert ours.modified_at == theirs.modified_at
        assert ours.model_info == theirs.modelinfo
        assert ours.context_length == ours.model_info["llama.context_length"] == 8192
        assert ours.modelfile.startswith("# Modelfile")

    mode.run(main)


def test_the_life_of_a_model(mode: Mode, server: RealOllama, gguf: Path) -> None:
    if mode.name == "threads":
        pytest.skip("the server deletes a layer with one model that it has just promised to another")
    official = server.official

    async def main() -> None:
        client = client_of(mode, server)
        name = f"made-{mode}-{id(client)}"
        own = {"seed": id(client) % 2**31}
        steps: list[PullProgress] = []
        assert await settled(client.create_model(name, files={"model.gguf": gguf}, template=TEMPLATE, system=f"Be {name}.",
                                                 parameters={**PARAMETERS, **own}, license=[name], on_progress=steps.append))  # fmt: skip
        assert steps[-1].status == "success"
        shown = await settled(client.show_model(name))
        assert (shown.system, shown.license) == (f"Be {name}.", name)
        assert await settled(client.create_model(f"{name}-2", name, parameters={**own, "num_predict": 3}))
        assert (await chat(client, SAY, model=f"{name}-2")).usage.output_tokens <= 3
        assert await settled(client.copy_model(name.upper(), f"Me/{name}:v1"))
        assert await settled(client.has_model(f"me/{name}:V1"))
        names = {model.model for model in official.list().models}
        assert {f"{name}:latest", f"{name}-2:latest", f"Me/{name}:v1"} <= names
        for each in (name, f"{name}-2", f"me/{name}:v1"):
            assert await settled(client.delete_model(each))
            with pytest.raises(LLMNotFoundError):
                await settled(client.delete_model(each))
            assert not await settled(client.has_model(each))

    mode.run(main)
    assert not any("made-" in (model.model or "") for model in official.list().models)


def test_loaded_and_let_go(mode: Mode, server: RealOllama) -> None:
    if mode.name == "threads":
        pytest.skip("one loads what another lets go")

    async def main() -> None:
        client = client_of(mode, server)
        assert await settled(client.load_model(MODEL.upper(), keep_alive=600, options={"num_ctx": 512}))
        [ours], [theirs] = await settled(client.running_models()), server.official.ps().models
        assert (ours.name, ours.digest, ours.size) == (theirs.model, theirs.digest, theirs.size)
        assert (ours.context_length, ours.expires_at) == (512, theirs.expires_at)
        assert await settled(client.unload_model(MODEL))
        for _ in range(100):
            if not await settled(client.running_models()):
                break
            await mode.sleep(0.1)
        else:
            raise AssertionError("it stays")
        with pytest.raises(LLMNotFoundError):
            await settled(client.load_model("no-such-model"))
        with pytest.raises(LLMBadRequestError, match="must be of type integer"):
            await settled(client.load_model(MODEL, options={"num_ctx": "512"}))

    mode.run(main)


def test_what_cannot_be_created(mode: Mode, server: RealOllama, tmp_path: Path) -> None:
    text = tmp_path / "notes.gguf"
    text.write_text("This is no model.")

    async def main() -> None:
        client = client_of(mode, server)
        for options, words in (
            ({"from_": MODEL, "quantize": "q4_K_M"}, "quantization is only supported for"),
            ({"from_": MODEL, "quantize": "nonsense"}, "unsupported quantization type"),
            ({"from_": MODEL, "template": "{{ .Bad"}, "template error"),
            ({"from_": "a b"}, "invalid model name"),
            ({"files": {"notes.txt": "sha256:" + 64 * "0"}}, "unknown type"),
            ({"files": {"model.gguf": "sha256:" + 64 * "0"}}, "no such file or directory"),
        ):
            with pytest.raises(LLMBadRequestError, match=words) as caught:
                await settled(client.create_model("unmade", **options))
            assert len(caught.value.attempts) == 1
        with pytest.raises(LLMError):
            await settled(client.create_model("unmade", files={"notes.gguf": text}))
        assert not await settled(client.has_model("unmade"))

    mode.run(main)


# -- downloads --------------------------------------------------------------------------------------------------------


def test_a_cold_download_with_progress(mode: Mode, cold: RealOllama, registry: Registry) -> None:
    """However many ask, under however many names: one request for it."""
    name = f"{registry.secure}/library/smol:v1"

    async def main() -> None:
        client = client_of(mode, cold)
        steps: list[PullProgress] = []
        assert await settled(client.ensure_model(name, on_progress=steps.append)) is True
        assert await settled(client.has_model(f"https://{name.upper()}"))
        if mode.name != "threads":  # where a follower may have missed the first steps
            assert steps[0].status == "pulling manifest"
            layers = {step.digest: step.total for step in steps if step.digest}
            assert max(total or 0 for total in layers.values()) > 90_000_000
        assert steps[-1].status == "success"
        assert await settled(client.ensure_model(f"HTTPS://{name}")) is True

    mode.run(main)
    assert cold.asked("/api/pull") <= (THREADS if mode.name == "threads" else 1)
    assert [model.model for model in cold.official.list().models] == [name]


def test_downloads_that_fail(mode: Mode, cold: RealOllama, registry: Registry) -> None:
    async def main() -> None:
        client = client_of(mode, cold, max_retries=0)
        with pytest.raises(LLMNotFoundError):
            await settled(client.pull_model(f"{registry.secure}/library/no-such:v1"))
        with pytest.raises(LLMBadRequestError, match="invalid model name"):
            await settled(client.pull_model("a b"))
        with pytest.raises(LLMError, match="pull model manifest"):
            await settled(client.pull_model("127.0.0.1:1/library/smol"))

    mode.run(main)


def test_a_registry_without_tls_is_asked_for_by_name(mode: Mode, server: RealOllama, registry: Registry) -> None:
    """Its layers are here already."""
    name = f"http://{registry.plain}/library/smol:v1"

    async def main() -> None:
        client = client_of(mode, server, max_retries=0)
        with pytest.raises(LLMError, match="pull model manifest"):
            await settled(client.pull_model(name))
        assert await settled(client.pull_model(name, insecure=True)) is True
        assert await settled(client.has_model(name)) is True

    mode.run(main)
    server.official.delete(name)


# -- when it dies -----------------------------------------------------------------------------------------------------


def test_killed_in_the_middle_of_a_stream(mode: Mode, binary: Path, gguf: Path, tmp_path: Path) -> None:
    """What had come is kept, and the same client goes on once it is back."""
    if mode.name == "threads":
        pytest.skip("three would kill it three times")
    with serving(binary, tmp_path / "mortal") as real:
        port = int(real.host.rpartition(":")[2])

        async def begin() -> Any:
            client = client_of(mode, real, max_retries=1)
            await settled(client.create_model(MODEL, files={"m.gguf": gguf}, template=TEMPLATE, parameters=PARAMETERS))
            stream = client.chat_stream([{"role": "user", "content": "Count from one to a hundred."}])
            texts = [await pull(stream)]
            os.kill(real.pid, signal.SIGKILL)
            with pytest.raises(LLMStreamError) as caught:
                await drain(stream, texts)
            assert caught.value.partial is not None
            assert caught.value.partial.content == "".join(texts)
            assert await settled(client.is_available()) is False
            with serving(binary, tmp_path / "mortal", port):
                assert await settled(client.is_available()) is True
                assert (await chat(client, SAY, max_tokens=4)).content

        mode.run(begin)
