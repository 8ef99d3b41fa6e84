"""What `chat()` takes by keyword, each option said once.

    ChatOptions   the keys and their types
    OPTIONS       a row each: how it is checked, which wires take it, what it means

Rules of this file:
- A new option is a key here, a row here, and a line in the body builder of each wire that takes it.
- None means "not said": nothing is sent for it.
- A wire refuses by name what its name is not beside (`refuse_foreign`); nothing is dropped silently.
- A range is checked where all wires that take the option agree on it; elsewhere it is the wire's, or the server's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypedDict

from ..decode.jsontext import JSON, JSONObject
from ..errors import LLMBadRequestError
from .message_checks import bad, check_json
from .tool_checks import checked_response_format


class ChatOptions(TypedDict, total=False):
    """The keyword arguments of `chat()` that go into the request; `OPTIONS` says what each means.

    None is the same as leaving the key out: nothing is sent, and the server's default holds.
    """

    top_p: float | None
    top_k: int | None
    frequency_penalty: float | None
    presence_penalty: float | None
    stop: str | Sequence[str] | None
    seed: int | None
    n: int | None
    logprobs: int | None
    response_format: str | Mapping[str, JSON] | None
    reasoning_effort: str | None
    thinking: int | Literal[False] | None
    verbosity: str | None
    parallel_tool_calls: bool | None
    service_tier: str | None
    user: str | None
    metadata: Mapping[str, str] | None
    extra_body: Mapping[str, JSON] | None
    extra_headers: Mapping[str, str] | None


class Option(NamedTuple):
    """One row: `check(value, path)` returns the value in its normal form (None: nothing is said) or raises; `wires` are
    those that take it (None: all); `about` is for `help()`; `instead` says what to do on the others.
    """

    check: Callable[[JSON, str], JSON]
    wires: tuple[str, ...] | None
    about: str
    instead: str = ""

    def taken_by(self, wire: str) -> bool:
        return self.wires is None or wire in self.wires


# -- single values ----------------------------------------------------------------------------------------------------


def text(value: JSON, path: str) -> str:
    """A printable string with something in it."""
    if not isinstance(value, str):
        raise bad(path, f"must be a string, not {type(value).__name__}")
    if not value.strip():
        raise bad(path, "is empty")
    if not value.isprintable():
        raise bad(path, "contains a control character or a lone surrogate")
    return value


def number(value: JSON, path: str) -> float:
    """An int or a float that is finite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise bad(path, f"must be a number, not {type(value).__name__}")
    if not -1e300 < value < 1e300:
        raise bad(path, "must be a finite number")
    return value


def integer(value: JSON, path: str, least: int | None = None, most: int | None = None) -> int:
    """An int of 64 bits, from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise bad(path, f"must be an integer, not {type(value).__name__}")
    if not -(2**63) <= value < 2**63:
        raise bad(path, "does not fit in 64 bits")
    if least is not None and value < least:
        raise bad(path, f"must be at least {least}, not {value}")
    if most is not None and value > most:
        raise bad(path, f"must be at most {most}, not {value}")
    return value


def _boolean(value: JSON, path: str) -> bool:
    if not isinstance(value, bool):
        raise bad(path, f"must be True or False, not {type(value).__name__}")
    return value


def _count(value: JSON, path: str) -> int:
    return integer(value, path, 1)


def _stop(value: JSON, path: str) -> list[str] | None:
    if isinstance(value, str):
        value = (value,)
    if not isinstance(value, (list, tuple)):
        raise bad(path, f"must be a string or a list of strings, not {type(value).__name__}")
    for i, one in enumerate(value):
        if not isinstance(one, str) or not one:
            raise bad(f"{path}[{i}]", "must be a non-empty string")
        check_json(one, f"{path}[{i}]")
    return list(value) or None


def _logprobs(value: JSON, path: str) -> int:
    if isinstance(value, bool):
        raise bad(path, f"is the number of alternatives to report for each token, 0 to 20, not {value}")
    return integer(value, path, 0, 20)


def _format(value: JSON, _path: str) -> JSON:
    return checked_response_format(value)


def _thinking(value: JSON, path: str) -> int | Literal[False]:
    if value is False:
        return False
    if isinstance(value, bool) or not isinstance(value, int):
        hint = " (Anthropic's own form goes into extra_body={'thinking': {...}})" if isinstance(value, Mapping) else ""
        shown = "True" if value is True else type(value).__name__
        raise bad(path, f"must be a budget in tokens, or False, not {shown}{hint}")
    return integer(value, path, 1)


def _metadata(value: JSON, path: str) -> JSONObject:
    if not isinstance(value, Mapping):
        raise bad(path, f"must be a dict of strings, not {type(value).__name__}")
    for key, item in value.items():
        if not isinstance(key, str) or not isinstance(item, str):
            raise bad(path, f"must be a dict of strings: {key!r:.60} has a value of type {type(item).__name__}")
    pairs = dict(value)
    check_json(pairs, path)
    return pairs


def _extra_body(value: JSON, path: str) -> JSONObject:
    if not isinstance(value, Mapping):
        raise bad(path, f"must be a dict, not {type(value).__name__}")
    if "stream" in value:
        raise bad(f"{path}.stream", "is decided by calling chat() or chat_stream()")
    body = dict(value)
    check_json(body, path)
    return body


#: Header fields that frame the message or name the connection: ours alone (RFC 9110 section 7.6.1, RFC 9112).
_OWN_HEADERS: Final = frozenset({
    "host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect",
    "accept-encoding", "proxy-authorization", "proxy-connection",
})  # fmt: skip
_TOKEN: Final = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def checked_headers(value: JSON, what: str) -> tuple[tuple[str, str], ...]:
    """Header fields a user adds, as pairs. `what` names the argument. Values are never echoed: they may be keys."""
    if isinstance(value, Mapping):
        pairs: Iterable[JSON] = value.items()
    elif isinstance(value, (list, tuple)):
        pairs = value
    else:
        raise bad(what, f"must be a dict of strings, not {type(value).__name__}")
    checked = []
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise bad(what, "must be a dict of strings or pairs of strings")
        name, content = pair
        if not isinstance(name, str) or not name or not _TOKEN.issuperset(name):
            raise bad(what, "has a field name that is not an HTTP token")
        path = f"{what}[{name!r}]"
        if name.lower() in _OWN_HEADERS:
            raise bad(path, "is set by the client itself")
        if not isinstance(content, str):
            raise bad(path, f"must be a string, not {type(content).__name__}")
        if not content.isascii() or not content.isprintable() or content != content.strip():
            raise bad(path, "contains a control or non-ASCII character, or white space at an end; it is not shown")
        checked.append((name, content))
    return tuple(checked)


# -- the table --------------------------------------------------------------------------------------------------------

#: Every wire, those that are still to come among them.
_ALL: Final = None

OPTIONS: Final[Mapping[str, Option]] = {
    "top_p": Option(number, _ALL, "float, 0 to 1: sample from the most likely tokens that together have this share."),
    "top_k": Option(
        integer, ("anthropic", "ollama"),
        "int: sample from this many of the most likely tokens.",
        "servers that know it (vLLM, llama.cpp, OpenRouter) take it in extra_body={'top_k': ...}",
    ),
    "frequency_penalty": Option(
        number, ("openai", "ollama"),
        "float, -2 to 2: the higher, the less likely are tokens that have occurred often.",
    ),
    "presence_penalty": Option(
        number, ("openai", "ollama"),
        "float, -2 to 2: the higher, the less likely are tokens that have occurred at all.",
    ),
    "stop": Option(_stop, _ALL, "str or list of str: the answer ends before any of these."),
    "seed": Option(integer, ("openai", "ollama"), "int: the same seed and request should give the same answer."),
    "n": Option(_count, _ALL, "int, at least 1: how many answers, in `response.choices` (Anthropic, Ollama: 1)."),
    "logprobs": Option(
        _logprobs, ("openai", "ollama"),
        "int, 0 to 20: report the log probability of each token, and of this many alternatives; they come in "
        "`response.logprobs`.",
    ),
    "response_format": Option(
        _format, _ALL,
        '"json", or a JSON schema as a dict, or OpenAI\'s own form; read the answer with `response.json()`.',
    ),
    "reasoning_effort": Option(
        text, _ALL, 'str: how long to think: "none", "low", "medium", "high" and others, by model.'
    ),
    "thinking": Option(
        _thinking, ("anthropic", "ollama"),
        "int or False: the most tokens for thinking (Anthropic: from 1024 to below max_tokens; Ollama: False only).",
        "use reasoning_effort",
    ),
    "verbosity": Option(text, ("openai",), 'str: how long the answer should be: "low", "medium" or "high".'),
    "parallel_tool_calls": Option(_boolean, _ALL, "bool: may one answer call several tools (Ollama: True only)."),
    "service_tier": Option(
        text, ("openai", "anthropic"),
        'str: how the server ranks and bills the request: "auto", and by vendor "default", "flex", "priority", '
        '"standard_only" and others.',
    ),
    "user": Option(
        text, ("openai", "anthropic"),
        "str: who this request is for, to tell abuse apart: an id of yours, not a name or an address.",
    ),
    "metadata": Option(
        _metadata, ("openai",),
        "dict of str to str: labels that the vendor stores with the request; at most 16, keys of up to 64 characters, "
        "values of up to 512.",
        "on Anthropic, user='...' is sent as metadata.user_id",
    ),
    "extra_body": Option(
        _extra_body, _ALL, "dict: fields of the vendor's own, merged over the request's JSON body as they are."
    ),
    "extra_headers": Option(checked_headers, _ALL, "dict of str to str: header fields for this request only."),
}  # fmt: skip


def checked_options(options: Mapping[str, JSON], caller: str) -> JSONObject:
    """What was said, checked and in normal form. Raises `LLMBadRequestError`, and `TypeError` for an unknown name."""
    said: JSONObject = {}
    for name, value in options.items():
        row = OPTIONS.get(name)
        if row is None:
            raise TypeError(f"{caller}() has no option {name!r}; it takes {', '.join(OPTIONS)}")
        checked = None if value is None else row.check(value, name)
        if checked is not None:
            said[name] = checked
    return said


def refuse_foreign(options: JSONObject, wire: str, api: str) -> None:
    """Raise `LLMBadRequestError` naming the first option that this wire does not take. `api`: what users call it."""
    for name in options:
        row = OPTIONS[name]
        if not row.taken_by(wire):
            raise unsupported(name, api, row.instead)


def unsupported(path: str, api: str, hint: str = "") -> LLMBadRequestError:
    """The error for an argument or a part of a message that a vendor's API does not take; raise it before sending."""
    why = f": {hint}" if hint else ""
    return LLMBadRequestError(f"{path} is not supported by the {api} API{why}", code="not_expressible")
