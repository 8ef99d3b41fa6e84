"""Words that people bring from other libraries, and what they are called here. Loaded when one of them is used.

Rules of this file:
- An entry is the name to use instead, or a sentence that says where the thing is.
- Only words that somebody uses elsewhere: openai, anthropic, ollama, litellm, langchain, httpx, requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Final

_VENDOR_FIELDS: Final = (
    "logit_bias", "store", "modalities", "prediction", "web_search_options", "prompt_cache_key", "min_p", "typical_p",
    "repetition_penalty", "keep_alive", "truncate", "container", "mcp_servers", "cache_control", "inference_geo",
    "speed", "guided_json", "grammar", "reasoning_format", "provider", "route", "transforms",
)  # fmt: skip
_OLLAMA_OPTIONS: Final = ("num_ctx", "num_gpu", "num_thread", "num_keep", "repeat_penalty", "repeat_last_n", "mirostat")
_CONSTRUCTOR: Final = ("api_key", "base_url", "organization", "project", "api_version", "betas", "proxy", "transport")

#: Keyword arguments of a call.
CALL: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("max_completion_tokens", "max_output_tokens", "max_new_tokens", "max_tokens_to_sample", "num_predict"),
        "max_tokens",
    ),
    **dict.fromkeys(("stop_sequences", "stop_tokens"), "stop"),
    **dict.fromkeys(("prompt", "input", "history", "contents"), "messages"),
    **dict.fromkeys(("instructions", "system_prompt", "system_message", "system_instruction"), "system"),
    **dict.fromkeys(("functions", "tool_list"), "tools"),
    **dict.fromkeys(("function_call", "tool_config"), "tool_choice"),
    **dict.fromkeys(("format", "output_format", "output_config", "json_schema", "response_model"), "response_format"),
    **dict.fromkeys(("reasoning", "effort"), "reasoning_effort"),
    **dict.fromkeys(("think", "budget_tokens", "thinking_budget", "thinking_config"), "thinking"),
    **dict.fromkeys(("disable_parallel_tool_use",), "parallel_tool_calls"),
    **dict.fromkeys(("num_retries", "retries"), "max_retries"),
    **dict.fromkeys(("request_timeout", "deadline"), "timeout"),
    **dict.fromkeys(("headers", "default_headers"), "extra_headers"),
    **dict.fromkeys(("safety_identifier", "user_id", "end_user"), "user"),
    **dict.fromkeys(("model_name", "deployment_id", "engine", "azure_deployment"), "model"),
    **dict.fromkeys(("num_completions", "candidate_count"), "n"),
    "top_logprobs": "logprobs",
    "random_seed": "seed",
    "stream": "call chat_stream(messages) for a stream, chat(messages) for a whole answer",
    "stream_options": "streams ask for usage by themselves; read stream.response.usage",
    "options": "Ollama's options are arguments here (temperature, top_k, seed, ...); others go into "
    "extra_body={'options': {...}}",
    "extra_query": "query parameters belong to the address: put them into the client's base_url",
    "http_client": "I/O belongs to the client: give its constructor transport=..., proxy=... or ssl_context=...",
    **dict.fromkeys(_CONSTRUCTOR, "it is the client's: client.with_options({0}=...)"),
    **dict.fromkeys(("api_base", "host", "azure_endpoint"), "it is the client's: client.with_options(base_url=...)"),
    **dict.fromkeys(_VENDOR_FIELDS, "it goes into extra_body={'{0}': ...}"),
    **dict.fromkeys(_OLLAMA_OPTIONS, "it goes into extra_body={'options': {'{0}': ...}}"),
}

#: Keyword arguments of a constructor.
CLIENT: Final[Mapping[str, str]] = {
    **dict.fromkeys(("default_headers", "extra_headers", "custom_headers"), "headers"),
    **dict.fromkeys(
        ("api_base", "host", "endpoint", "url", "base_uri", "openai_api_base", "api_base_url", "server_url"), "base_url"
    ),
    "azure_endpoint": "give it as base_url='https://<resource>.openai.azure.com'; the dialect follows from the host",
    "azure_deployment": "the deployment is the model: model='<deployment>'",
    **dict.fromkeys(
        ("azure_ad_token", "azure_ad_token_provider", "token_provider", "credential", "credentials"),
        "give the token, or a function that returns one, as api_key",
    ),
    **dict.fromkeys(("openai_api_key", "anthropic_api_key", "groq_api_key", "key", "token", "secret"), "api_key"),
    **dict.fromkeys(("model_name", "deployment", "default_model", "engine"), "model"),
    **dict.fromkeys(("organization_id", "organisation", "org", "openai_organization"), "organization"),
    **dict.fromkeys(("project_id",), "project"),
    **dict.fromkeys(("request_timeout", "read_timeout"), "timeout"),
    "connect_timeout": "timeout=Timeouts(connect=...) has it",
    **dict.fromkeys(("retries", "num_retries", "max_attempts"), "max_retries"),
    **dict.fromkeys(("proxies", "proxy_url", "http_proxy", "https_proxy"), "proxy"),
    **dict.fromkeys(
        ("verify", "cert", "ca_bundle"), "ca_file=... trusts other authorities; the rest is ssl_context=..."
    ),
    **dict.fromkeys(
        ("http_client", "http_async_client", "client", "session", "httpx_client"),
        "connections are pooled already; proxy=... and ssl_context=... configure them, transport=... replaces them",
    ),
    **dict.fromkeys(("max_connections", "pool_size"), "transport=... takes a transport with a pool of its own"),
    **dict.fromkeys(("default_query", "query"), "put the query into base_url"),
    **dict.fromkeys(("provider", "vendor", "api_type"), "dialect"),
    **dict.fromkeys(("anthropic_version",), "api_version"),
    **dict.fromkeys(("callbacks", "event_hooks"), "on_attempt=... is called with each attempt"),
    **dict.fromkeys(
        ("temperature", "max_tokens", "top_p", "system", "tools", "stream", "seed", "stop"),
        "it belongs to the call: client.chat(messages, {0}=...)",
    ),
}

#: Keyword arguments of `create_model()`.
CREATE: Final[Mapping[str, str]] = {
    "from": "did you mean from_?",
    "base": "did you mean from_?",
    **dict.fromkeys(
        ("modelfile", "path"),
        "only `ollama create` reads a Modelfile: its FROM is from_=... or files={...}, PARAMETER parameters={...}",
    ),
    "stream": "on_progress=... is called with each step",
    "quantization": "quantize",
    "options": "parameters",
}

#: Attributes of a client.
ATTRIBUTES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("messages", "completions", "responses", "completion", "beta"), "call client.chat(messages, ...)"),
    **dict.fromkeys(
        ("invoke", "complete", "generate", "predict", "ask", "run", "send", "achat", "ainvoke", "acomplete"),
        "call client.chat(messages, ...); the clients whose names begin with Async are awaited",
    ),
    "create": "call client.chat(messages, ...); client.create_model(...) of an Ollama client makes a model",
    **dict.fromkeys(("stream", "astream", "stream_chat"), "call client.chat_stream(messages, ...)"),
    **dict.fromkeys(("models", "list"), "call client.list_models()"),
    **dict.fromkeys(("pull", "download"), "call client.pull_model(name) of an Ollama client"),
    "copy": "client.with_options(...) makes a changed client; an Ollama client has copy_model(source, destination)",
    "bind": "client.with_options(...) makes a changed client",
    **{word: f"call client.{word}_model(name) of an Ollama client" for word in ("show", "delete", "load", "unload")},
    "ps": "call client.running_models() of an Ollama client",
    **dict.fromkeys(
        ("with_raw_response", "with_streaming_response"), "response.raw, .headers and .request_id are on every response"
    ),
    **dict.fromkeys(
        ("api_key", "auth_token"), "keys cannot be read back; client.with_options(api_key=...) takes another"
    ),
    **dict.fromkeys(("embeddings", "embed", "files", "batches", "images", "audio"), "this library only does chat"),
    "aclose": "call client.close(): this client blocks",
}  # fmt: skip

_ROAD: Final = "Vendor fields go into extra_body={...}"


def unknown_option(method: str, name: str, known: Iterable[str], *, of_call: bool = False) -> TypeError:
    """The error for a keyword argument that `method` does not have."""
    hint = _hint(name, sorted(known), CALL if of_call else CREATE if method == "create_model" else CLIENT)
    sentence = f"{method}() has no option {name!r}" + (f"; {hint}" if hint else "")
    if of_call and (not hint or hint.endswith("?")):
        sentence += (" " if hint else ". ") + _ROAD
    return TypeError(sentence)


def unknown_attribute(owner: str, name: str, known: Iterable[str]) -> str:
    """What to say of an attribute that a client does not have."""
    hint = _hint(name, sorted(known), ATTRIBUTES)
    return f"{owner} has no attribute {name!r}" + (f"; {hint}" if hint else "")


def _hint(name: str, known: list[str], words: Mapping[str, str]) -> str:
    word = words.get(name)
    if word is not None and " " in word:
        return word.replace("{0}", name)
    if word is None or word not in known:
        near = get_close_matches(name, known, 1)
        word = near[0] if near else None
    return "" if word is None else f"did you mean {word}?"
