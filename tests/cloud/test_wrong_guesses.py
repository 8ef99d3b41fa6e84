"""What people write who come from another library, and what they are told. Read each line as the one who guessed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from cloud.llm import (
    AnthropicClient,
    AsyncAnthropicClient,
    AsyncOllamaClient,
    AsyncOpenAICompatClient,
    ChatResponse,
    LLMBadRequestError,
    OllamaClient,
    OpenAICompatClient,
)
from cloud.llm.hints import ATTRIBUTES, CALL, CLIENT
from cloud.llm.options import CALL_OPTIONS, CLIENT_OPTIONS

HI = [{"role": "user", "content": "Hello"}]
ROAD = "Vendor fields go into extra_body={...}"
EXAMPLE = '{"role": "user", "content": "Hello"}'


class HTTPXTimeout:
    """As much of `httpx.Timeout` as anybody looks at."""

    connect = read = write = pool = 5.0


HTTPXTimeout.__module__, HTTPXTimeout.__name__ = "httpx._config", "Timeout"


class HumanMessage:
    """LangChain's."""

    content = "Hello"


def openai(**options: Any) -> OpenAICompatClient:
    return OpenAICompatClient("k", **options)


def chat(**options: Any) -> object:
    return openai().chat(HI, **options)


def say(message: object) -> object:
    return openai().chat([message])


#: What is written -> the guess, the error, its words.
GUESSES: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    # -- options of a call
    "chat(max_completion_tokens=9)": (
        lambda: chat(max_completion_tokens=9), TypeError,
        f"chat() has no option 'max_completion_tokens'; did you mean max_tokens? {ROAD}",
    ),
    "chat(stream=True)": (
        lambda: chat(stream=True), TypeError,
        "chat() has no option 'stream'; call chat_stream(messages) for a stream, chat(messages) for a whole answer",
    ),
    "chat(stream_options={...})": (
        lambda: chat(stream_options={"include_usage": True}), TypeError,
        "chat() has no option 'stream_options'; streams ask for usage by themselves; read stream.response.usage",
    ),
    "chat(tempreature=1)": (
        lambda: chat(tempreature=1), TypeError,
        f"chat() has no option 'tempreature'; did you mean temperature? {ROAD}",
    ),
    "chat(frobnicate=1)": (
        lambda: chat(frobnicate=1), TypeError, f"chat() has no option 'frobnicate'. {ROAD}",
    ),
    "chat(stop_sequences=[...])": (
        lambda: AnthropicClient("k").chat(HI, stop_sequences=["x"]), TypeError,
        f"chat() has no option 'stop_sequences'; did you mean stop? {ROAD}",
    ),
    "chat_stream(functions=[...])": (
        lambda: openai().chat_stream(HI, functions=[]), TypeError,
        f"chat_stream() has no option 'functions'; did you mean tools? {ROAD}",
    ),
    "build_request(top_logprobs=2)": (
        lambda: openai().build_request(HI, top_logprobs=2), TypeError,
        f"build_request() has no option 'top_logprobs'; did you mean logprobs? {ROAD}",
    ),
    "chat(format='json')": (
        lambda: OllamaClient().chat(HI, format="json"), TypeError,
        f"chat() has no option 'format'; did you mean response_format? {ROAD}",
    ),
    "chat(options={'num_ctx': 9})": (
        lambda: OllamaClient().chat(HI, options={"num_ctx": 9}), TypeError,
        "chat() has no option 'options'; Ollama's options are arguments here (temperature, top_k, seed, ...); others go "
        "into extra_body={'options': {...}}",
    ),
    "chat(num_ctx=9)": (
        lambda: OllamaClient().chat(HI, num_ctx=9), TypeError,
        "chat() has no option 'num_ctx'; it goes into extra_body={'options': {'num_ctx': ...}}",
    ),
    "chat(keep_alive='5m')": (
        lambda: OllamaClient().chat(HI, keep_alive="5m"), TypeError,
        "chat() has no option 'keep_alive'; it goes into extra_body={'keep_alive': ...}",
    ),
    "chat(logit_bias={...})": (
        lambda: chat(logit_bias={}), TypeError,
        "chat() has no option 'logit_bias'; it goes into extra_body={'logit_bias': ...}",
    ),
    "chat(api_base='...')": (
        lambda: chat(api_base="http://h"), TypeError,
        "chat() has no option 'api_base'; it is the client's: client.with_options(base_url=...)",
    ),
    "chat(api_key='...')": (
        lambda: chat(api_key="k2"), TypeError,
        "chat() has no option 'api_key'; it is the client's: client.with_options(api_key=...)",
    ),
    "chat(default_headers={...})": (
        lambda: chat(default_headers={}), TypeError,
        f"chat() has no option 'default_headers'; did you mean extra_headers? {ROAD}",
    ),
    "await async_client.chat(request_timeout=3)": (
        lambda: asyncio.run(AsyncAnthropicClient("k").chat(HI, request_timeout=3)), TypeError,
        f"chat() has no option 'request_timeout'; did you mean timeout? {ROAD}",
    ),
    "chat(system_prompt='...')": (
        lambda: chat(system_prompt="Be brief."), TypeError,
        f"chat() has no option 'system_prompt'; did you mean system? {ROAD}",
    ),
    # -- options that this wire does not take
    "openai: chat(top_k=3)": (
        lambda: chat(top_k=3), LLMBadRequestError,
        "top_k is not supported by the chat completions API: servers that know it (vLLM, llama.cpp, OpenRouter) take it "
        "in extra_body={'top_k': ...}",
    ),
    "openai: chat(thinking=2000)": (
        lambda: chat(thinking=2000), LLMBadRequestError,
        "thinking is not supported by the chat completions API: use reasoning_effort",
    ),
    "anthropic: chat(metadata={'user_id': 'u'})": (
        lambda: AnthropicClient("k").chat(HI, metadata={"user_id": "u"}), LLMBadRequestError,
        "metadata is not supported by the Anthropic API: on Anthropic, user='...' is sent as metadata.user_id",
    ),
    "ollama: chat(user='u')": (
        lambda: OllamaClient().chat(HI, user="u"), LLMBadRequestError, "user is not supported by the Ollama API",
    ),
    "ollama: chat(thinking=2000)": (
        lambda: OllamaClient().chat(HI, thinking=2000), LLMBadRequestError,
        "thinking is not supported by the Ollama API: it has no budgets: use reasoning_effort, or thinking=False",
    ),
    # -- values in another library's form
    "anthropic: chat(thinking={'type': 'enabled', ...})": (
        lambda: AnthropicClient("k").chat(HI, thinking={"type": "enabled", "budget_tokens": 2000}), LLMBadRequestError,
        "thinking must be a budget in tokens, or False, not dict (Anthropic's own form goes into "
        "extra_body={'thinking': {...}})",
    ),
    "chat(logprobs=True)": (
        lambda: chat(logprobs=True), LLMBadRequestError,
        "logprobs is the number of alternatives to report for each token, 0 to 20, not True",
    ),
    "chat(timeout=httpx.Timeout(5))": (
        lambda: chat(timeout=HTTPXTimeout()), LLMBadRequestError,
        "timeout must be a positive number of seconds or None, not httpx.Timeout; cloud.llm.Timeouts(total=..., "
        "connect=..., idle=...) has limits for the parts of a call",
    ),
    "Client(timeout=(3, 10))": (
        lambda: openai(timeout=(3, 10)), LLMBadRequestError,
        "timeout must be a positive number of seconds or None, not (3, 10); cloud.llm.Timeouts(total=..., connect=..., "
        "idle=...) has limits for the parts of a call",
    ),
    "chat(response_format=Model)": (
        lambda: chat(response_format=HumanMessage), LLMBadRequestError,
        'response_format must be "json" or a dict, not type (for a pydantic model pass Model.model_json_schema())',
    ),
    # -- constructors
    "Client(default_headers={...})": (
        lambda: openai(default_headers={}), TypeError,
        "OpenAICompatClient() has no option 'default_headers'; did you mean headers?",
    ),
    "Client(api_base='...')": (
        lambda: openai(api_base="http://h"), TypeError,
        "OpenAICompatClient() has no option 'api_base'; did you mean base_url?",
    ),
    "Client(host='...')": (
        lambda: openai(host="http://h"), TypeError,
        "OpenAICompatClient() has no option 'host'; did you mean base_url?",
    ),
    "Client(http_client=httpx.Client())": (
        lambda: AnthropicClient("k", http_client=object()), TypeError,
        "AnthropicClient() has no option 'http_client'; connections are pooled already; proxy=... and ssl_context=... "
        "configure them, transport=... replaces them",
    ),
    "Client(azure_endpoint='...')": (
        lambda: openai(azure_endpoint="https://r.openai.azure.com"), TypeError,
        "OpenAICompatClient() has no option 'azure_endpoint'; give it as base_url='https://<resource>.openai.azure.com'; "
        "the dialect follows from the host",
    ),
    "Client(azure_ad_token_provider=f)": (
        lambda: openai(azure_ad_token_provider=str), TypeError,
        "OpenAICompatClient() has no option 'azure_ad_token_provider'; give the token, or a function that returns one, as "
        "api_key",
    ),
    "Client(temperature=0)": (
        lambda: openai(temperature=0), TypeError,
        "OpenAICompatClient() has no option 'temperature'; it belongs to the call: client.chat(messages, temperature=...)",
    ),
    "Client(model_name='m')": (
        lambda: openai(model_name="m"), TypeError,
        "OpenAICompatClient() has no option 'model_name'; did you mean model?",
    ),
    "Client(verify=False)": (
        lambda: openai(verify=False), TypeError,
        "OpenAICompatClient() has no option 'verify'; ca_file=... trusts other authorities; the rest is ssl_context=...",
    ),
    "Client(proxies={...})": (
        lambda: openai(proxies={}), TypeError, "OpenAICompatClient() has no option 'proxies'; did you mean proxy?",
    ),
    "AsyncClient(num_retries=2)": (
        lambda: AsyncOllamaClient(num_retries=2), TypeError,
        "AsyncOllamaClient() has no option 'num_retries'; did you mean max_retries?",
    ),
    "client.with_options(tiemout=3)": (
        lambda: openai().with_options(tiemout=3), TypeError,
        "with_options() has no option 'tiemout'; did you mean timeout?",
    ),
    "ollama.Client('http://host:11434')": (
        lambda: OllamaClient("http://host:11434"), TypeError,  # type: ignore[arg-type]
        "OllamaClient() takes no positional arguments: a server goes into host='http://...:11434', a model into "
        "model='...'",
    ),
    "ollama.AsyncClient('gpu:11434')": (
        lambda: AsyncOllamaClient("gpu:11434"), TypeError,  # type: ignore[arg-type]
        "AsyncOllamaClient() takes no positional arguments: a server goes into host='http://...:11434', a model into "
        "model='...'",
    ),
    "OllamaClient('llama3.2')": (
        lambda: OllamaClient("llama3.2"), TypeError,  # type: ignore[arg-type]
        "OllamaClient() takes no positional arguments: a server goes into host='http://...:11434', a model into "
        "model='...'",
    ),
    "OllamaClient(None, 'llama3.2')": (
        lambda: OllamaClient(None, "llama3.2"), TypeError,  # type: ignore[arg-type]
        "OllamaClient() takes no positional arguments: a server goes into host='http://...:11434', a model into "
        "model='...'",
    ),
    "OllamaClient('llama3.2', host='gpu')": (
        lambda: OllamaClient("llama3.2", host="gpu"), TypeError,  # type: ignore[arg-type]
        "OllamaClient() takes no positional arguments: a server goes into host='http://...:11434', a model into "
        "model='...'",
    ),
    "OllamaClient(api_key='http://host:11434')": (
        lambda: OllamaClient(api_key="http://host:11434"), LLMBadRequestError,
        "api_key is a URL: where the server is goes into base_url=... (for Ollama also host=...)",
    ),
    "create_model('m', modelfile='FROM x')": (
        lambda: OllamaClient().create_model("m", modelfile="FROM x"), TypeError,  # type: ignore[call-arg]
        "create_model() has no option 'modelfile'; only `ollama create` reads a Modelfile: its FROM is from_=... or "
        "files={...}, PARAMETER parameters={...}",
    ),
    "create_model('m', **{'from': 'x'})": (
        lambda: OllamaClient().create_model("m", **{"from": "x"}), TypeError,  # type: ignore[arg-type]
        "create_model() has no option 'from'; did you mean from_?",
    ),
    "create_model('m', 'x', sytem='...')": (
        lambda: OllamaClient().create_model("m", "x", sytem="Be brief."), TypeError,  # type: ignore[call-arg]
        "create_model() has no option 'sytem'; did you mean system?",
    ),
    # -- attributes
    "client.chat.completions.create(...)": (
        lambda: openai().chat.completions.create(messages=HI), AttributeError,
        "there is no chat.completions.create here: call client.chat(messages, model=...), or client.chat_stream(...) for a "
        "stream",
    ),
    "client.messages.create(...)": (
        lambda: AnthropicClient("k").messages.create(messages=HI), AttributeError,
        "AnthropicClient has no attribute 'messages'; call client.chat(messages, ...)",
    ),
    "client.responses.create(...)": (
        lambda: AsyncOpenAICompatClient("k").responses.create(input="Hi"), AttributeError,
        "AsyncOpenAICompatClient has no attribute 'responses'; call client.chat(messages, ...)",
    ),
    "client.models.list()": (
        lambda: openai().models.list(), AttributeError,
        "OpenAICompatClient has no attribute 'models'; call client.list_models()",
    ),
    "client.generate(...)": (
        lambda: OllamaClient().generate("Hi"), AttributeError,
        "OllamaClient has no attribute 'generate'; call client.chat(messages, ...); the clients whose names begin with "
        "Async are awaited",
    ),
    "client.show('m')": (
        lambda: OllamaClient().show("m"), AttributeError,
        "OllamaClient has no attribute 'show'; call client.show_model(name) of an Ollama client",
    ),
    "client.ps()": (
        lambda: OllamaClient().ps(), AttributeError,
        "OllamaClient has no attribute 'ps'; call client.running_models() of an Ollama client",
    ),
    "client.pull('m')": (
        lambda: OllamaClient().pull("m"), AttributeError,
        "OllamaClient has no attribute 'pull'; call client.pull_model(name) of an Ollama client",
    ),
    "client.astream(...)": (
        lambda: openai().astream("Hi"), AttributeError,
        "OpenAICompatClient has no attribute 'astream'; call client.chat_stream(messages, ...)",
    ),
    "client.with_raw_response.chat(...)": (
        lambda: openai().with_raw_response.chat(HI), AttributeError,
        "OpenAICompatClient has no attribute 'with_raw_response'; response.raw, .headers and .request_id are on every "
        "response",
    ),
    "client.api_key": (
        lambda: openai().api_key, AttributeError,
        "OpenAICompatClient has no attribute 'api_key'; keys cannot be read back; client.with_options(api_key=...) takes "
        "another",
    ),
    "client.list_model()": (
        lambda: openai().list_model(), AttributeError,
        "OpenAICompatClient has no attribute 'list_model'; did you mean list_models?",
    ),
    "client.aclose()": (
        lambda: openai().aclose(), AttributeError,
        "OpenAICompatClient has no attribute 'aclose'; call client.close(): this client blocks",
    ),
    # -- messages
    "chat('Hello')": (
        lambda: openai().chat("Hello"), LLMBadRequestError,
        f"messages must be a list of messages like [{EXAMPLE}], not str",
    ),
    "chat({'role': ...})": (
        lambda: openai().chat(HI[0]), LLMBadRequestError,
        f"messages must be a list of messages like [{EXAMPLE}], not dict",
    ),
    "chat(['Hello'])": (
        lambda: say("Hello"), LLMBadRequestError, f"messages[0] must be a dict like {EXAMPLE}, not str",
    ),
    "chat([('user', 'Hello')])": (
        lambda: say(("user", "Hello")), LLMBadRequestError, f"messages[0] must be a dict like {EXAMPLE}, not tuple",
    ),
    "chat([HumanMessage('Hello')])": (
        lambda: say(HumanMessage()), LLMBadRequestError, f"messages[0] must be a dict like {EXAMPLE}, not HumanMessage",
    ),
    "chat([{'role': 'human', ...}])": (
        lambda: say({"role": "human", "content": "Hello"}), LLMBadRequestError,
        "messages[0].role is 'human'; it must be one of system, developer, user, assistant, tool (did you mean 'user'?)",
    ),
    "chat([{'role': 'model', ...}])": (
        lambda: say({"role": "model", "parts": [{"text": "Hello"}]}), LLMBadRequestError,
        "messages[0].role is 'model'; it must be one of system, developer, user, assistant, tool (did you mean "
        "'assistant'?)",
    ),
    "chat([{'role': 'user', 'parts': [...]}])": (
        lambda: say({"role": "user", "parts": [{"text": "Hello"}]}), LLMBadRequestError,
        "messages[0].content is missing: what is in 'parts' belongs there",
    ),
    "chat([{'role': 'user', 'content': {...}}])": (
        lambda: say({"role": "user", "content": {"type": "text", "text": "Hello"}}), LLMBadRequestError,
        "messages[0].content must be a string or a list of parts, not dict: put the part into a list",
    ),
    "messages.append(response)": (
        lambda: openai().chat([*HI, ChatResponse()]), LLMBadRequestError,
        "messages[1] is a ChatResponse; append response.message instead",
    ),
    "image_url: 'cat.png'": (
        lambda: say({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "cat.png"}}]}),
        LLMBadRequestError,
        "messages[0].content[0].image_url must hold an http(s) URL or a data URL (data:image/png;base64,...)",
    ),
    # -- tools
    "chat(tools={...})": (
        lambda: chat(tools={"name": "f"}), LLMBadRequestError,
        "tools must be a list of tools, not dict: put the tool into a list",
    ),
    "chat(tools=[function])": (
        lambda: chat(tools=[len]), LLMBadRequestError,
        'tools[0] must be a dict like {"name": "...", "description": "...", "parameters": {...}}, not '
        "builtin_function_or_method",
    ),
    "chat(tool_choice='f')": (lambda: chat(tool_choice="f"), LLMBadRequestError, "tool_choice needs tools"),
    # -- base URLs
    "base_url='localhost:8080'": (
        lambda: openai(base_url="localhost:8080"), LLMBadRequestError, "base_url must begin with http:// or https://",
    ),
    "base_url='.../v1/chat/completions'": (
        lambda: openai(base_url="https://api.openai.com/v1/chat/completions"), LLMBadRequestError,
        "base_url ends in /chat/completions, which the client adds by itself: leave it out",
    ),
    "base_url='.../v1/messages'": (
        lambda: AnthropicClient("k", base_url="https://api.anthropic.com/v1/messages/"), LLMBadRequestError,
        "base_url ends in /v1/messages, which the client adds by itself: leave it out",
    ),
    "host='.../v1'": (
        lambda: OllamaClient(host="http://localhost:11434/v1"), LLMBadRequestError,
        "host ends in /v1, which is Ollama's OpenAI-compatible API: leave it out here, or use "
        "OpenAICompatClient(base_url=...)",
    ),
    "base_url='.../v1/'": (
        lambda: AsyncOllamaClient(base_url="http://localhost:11434/ollama/v1/"), LLMBadRequestError,
        "base_url ends in /v1, which is Ollama's OpenAI-compatible API: leave it out here, or use "
        "OpenAICompatClient(base_url=...)",
    ),
    "host='.../api'": (
        lambda: OllamaClient(host="localhost:11434/api/"), LLMBadRequestError,
        "host ends in /api, which the client adds by itself: leave it out",
    ),
    "host='.../api/chat'": (
        lambda: OllamaClient(host="http://localhost:11434/api/chat"), LLMBadRequestError,
        "host ends in /api/chat, which the client adds by itself: leave it out",
    ),
}  # fmt: skip


@pytest.mark.parametrize("guess", GUESSES)
def test_a_wrong_guess_is_told_what_to_write(guess: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OLLAMA_HOST", "OPENAI_BASE_URL", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    act, kind, words = GUESSES[guess]
    with pytest.raises(kind) as caught:
        act()
    assert type(caught.value) is kind
    assert str(caught.value) == words


def test_there_are_enough_of_them() -> None:
    assert len(GUESSES) >= 40


def test_a_hint_leads_to_something_that_exists() -> None:
    positional = {"messages", "model", "system", "temperature", "max_tokens", "tools", "tool_choice"}
    own = {"api_key", "model", "base_url", "organization", "project", "api_version", "dialect"}
    for words, known in ((CALL, CALL_OPTIONS | positional), (CLIENT, {*CLIENT_OPTIONS} | own)):
        for guess, word in words.items():
            assert guess not in known, f"{guess} exists"
            assert " " in word or word in known, f"{guess} leads to {word}"
    for name, word in ATTRIBUTES.items():
        assert " " in word, name
        assert name == "aclose" or not any(hasattr(kind, name) for kind in (OpenAICompatClient, AsyncOllamaClient)), (
            name
        )


def test_a_refused_argument_leaves_no_key_in_a_traceback() -> None:
    key = "sk-secret-of-" + "mine"
    with pytest.raises(TypeError) as caught:
        OpenAICompatClient(key, default_headers={})
    traceback = caught.value.__traceback__
    while traceback is not None:
        if "/cloud/llm/" in traceback.tb_frame.f_code.co_filename:
            assert key not in repr(traceback.tb_frame.f_locals)
        traceback = traceback.tb_next
