"""The keyword arguments of the clients, each said once: those of a call and those of a constructor.

    CallOptions     ChatOptions of the core, and what the client itself heeds (timeout, max_retries)
    ClientOptions   what every constructor takes beside its own arguments

Rules of this file:
- A type checker reads the TypedDicts, a person `help(client.chat)`, which is put together here from the same rows.
- Nothing here is asked for by a plain call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypedDict, TypeVar

from sans_io.chat.options import OPTIONS, ChatOptions
from sans_io.providers.registry import WIRES

if TYPE_CHECKING:
    import os
    import ssl

    from sans_io.chat.response import Attempt
    from sans_io.http.proxies import Proxy
    from sans_io.http.secret import Secret
    from sans_io.limits import Limits
    from sans_io.policy.retry import RetryPolicy

    from .config import Timeouts


class CallOptions(ChatOptions, total=False):
    """The keyword arguments of `chat()` beside those that are written out."""

    timeout: float | Timeouts | None
    max_retries: int | None


class ClientOptions(TypedDict, total=False):
    """The keyword arguments of every client's constructor: `help(OpenAICompatClient)` lists them all."""

    timeout: float | Timeouts | None
    max_retries: int
    headers: Mapping[str, str | Secret] | None
    transport: Any
    ssl_context: ssl.SSLContext | None
    ca_file: str | os.PathLike[str] | None
    proxy: str | Proxy | None
    trust_env: bool
    retry: RetryPolicy | None
    isolate_credentials: bool
    on_attempt: Callable[[Attempt], object] | None
    limits: Limits | None


#: Name -> default, and what it means.
CLIENT_OPTIONS: Final[Mapping[str, tuple[object, str]]] = {
    "timeout": (
        120.0,
        (
            "float (seconds), `Timeouts` or None (unlimited): bounds a whole `chat()` with its retries;\n"
            "        of a stream, the time up to the first event and every gap after it. Default 120."
        ),
    ),
    "max_retries": (3, "int: how often a failed call is tried again, within the timeout. Default 3."),
    "headers": (None, "dict of str to str: header fields for every request; they win over our own."),
    "transport": (None, "an object of `transports`: what does the I/O, instead of the shared pool."),
    "ssl_context": (None, "ssl.SSLContext: certificates and ciphers of your own. Not together with ca_file."),
    "ca_file": (None, "str or path: a PEM file of certificate authorities to trust, instead of the system's."),
    "proxy": (None, 'str like "http://user:password@host:3128": the proxy, instead of what the environment names.'),
    "trust_env": (True, "bool: whether HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY count. Default True."),
    "retry": (None, "`RetryPolicy`: pauses and limits of retries, where max_retries does not say enough."),
    "isolate_credentials": (False, "bool: share no connection with clients that have another key. Default False."),
    "on_attempt": (None, "a function that is called with each finished `Attempt` of each call."),
    "limits": (None, "`Limits`: how many bytes of a reply may be buffered, and other caps."),
}

_CALL_ONLY: Final = {
    "timeout": "float (seconds), `Timeouts` or None: instead of the client's, for this call.",
    "max_retries": "int: instead of the client's, for this call.",
}
#: What a call takes by keyword.
CALL_OPTIONS: Final = frozenset({*OPTIONS, *_CALL_ONLY})

_ARGUMENTS: Final = {
    "messages": 'list of dicts like {"role": "user", "content": "Hello"}: the conversation.\n'
    "        Roles are system, developer, user, assistant and tool; content is a string or a list of parts (text,\n"
    "        image_url, input_audio, file). `response.message` and `tool_call.result(...)` are messages to append.",
    "model": "str: the model's name; default: the client's.",
    "system": "str: instructions for the model, before the messages.",
    "temperature": "float, 0 to 2 by most vendors: how much chance there is in the answer.",
    "max_tokens": "int: the most tokens that the answer may have (Anthropic: 8,192 unless given).",
    "tools": 'list of dicts like {"name", "description", "parameters"}: functions that the model may call;\n'
    "        `parameters` is a JSON schema. OpenAI's nested form and Anthropic's (input_schema) are taken as well.",
    "tool_choice": '"auto", "none", "required", or the name of the tool to call (Ollama: the first two).',
    "stream": "bool: the request of `chat_stream()` instead of that of `chat()`.",
}
_RETURNS: Final = {
    "chat": "Returns a `ChatResponse`: content, tool_calls, message, finish_reason, usage and others.",
    "chat_stream": "Returns a stream of `str`. Use it in a `with` block (`async with`), or close it. It has events(),\n"
    "response, until_done(), partial, cancel() and close(); tool calls and usage are collected too.",
    "build_request": "Returns an `HTTPRequest`: method, target, headers, body. Nothing is sent.",
}
_RAISES: Final = """Raises an `LLMError`; before anything is sent, `LLMBadRequestError` for an argument that is wrong or
that this vendor's API does not support, and `TypeError` for one that does not exist."""

_F = TypeVar("_F", bound=Callable[..., object])


def documented(wire: str) -> Callable[[_F], _F]:
    """Complete the docstring of a method that chats: its arguments and options, what it returns and raises."""

    def complete(method: _F) -> _F:
        code = method.__code__
        names = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
        arguments = "\n".join(f"    {name}: {_ARGUMENTS[name]}" for name in names)
        text = _dedented(method)
        text += f"\n\nArguments:\n{arguments}\n\nBy keyword only, each optional:\n{_options_of(wire)}\n\n"
        text += "What is not given, or None, is not sent: the server's default holds.\n\n"
        method.__doc__ = text + f"{_RETURNS[method.__name__]}\n{_RAISES}"
        if method.__name__ == "chat":
            setattr(method, "completions", _ELSEWHERE)  # noqa: B010 - a function has no such attribute to assign to
        return method

    return complete


def documented_constructor(init: _F) -> _F:
    """Complete the docstring of a constructor by the options that every client has."""
    rows = "\n".join(f"    {name}: {about}" for name, (_, about) in CLIENT_OPTIONS.items())
    init.__doc__ = _dedented(init) + (
        f"\n\nEvery client's options, by keyword:\n{rows}\n\n"
        "Raises `LLMAuthError` without a key where one is needed, `LLMBadRequestError` for a wrong value, `TypeError`\n"
        "for an option that does not exist. Nothing is sent."
    )
    return init


def _dedented(function: Callable[..., object]) -> str:
    return (function.__doc__ or "").rstrip().replace("\n        ", "\n")


def _options_of(wire: str) -> str:
    taken = [f"    {name}: {row.about}" for name, row in OPTIONS.items() if row.taken_by(wire)]
    taken += [f"    {name}: {about}" for name, about in _CALL_ONLY.items()]
    refused = [name for name, row in OPTIONS.items() if not row.taken_by(wire)]
    return "\n".join(taken) + f"\n    Not supported by the {WIRES[wire].title} API: {', '.join(refused)}."


def _described(name: str) -> str:
    row = OPTIONS[name]
    takers = ", ".join(wire.title for wire in WIRES.values() if row.taken_by(wire.name))
    return f"    {name}: {row.about} Taken by: {takers}."


_ROWS: Final = (*map(_described, OPTIONS), *(f"    {name}: {about}" for name, about in _CALL_ONLY.items()))
CallOptions.__doc__ = f"{CallOptions.__doc__}\n\n" + "\n".join(_ROWS)


class _Elsewhere:
    """What stands where OpenAI's own client has `chat.completions`."""

    def __getattr__(self, name: str) -> object:
        raise AttributeError(
            f"there is no chat.completions.{name} here: call client.chat(messages, model=...), "
            "or client.chat_stream(...) for a stream"
        )


_ELSEWHERE: Final = _Elsewhere()
