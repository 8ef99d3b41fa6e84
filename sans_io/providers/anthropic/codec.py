"""Anthropic's Messages API: `ChatRequest` in, requests out, and how their replies are read.

Rules of this file:
- A codec is immutable: configuration, and request heads that were built before.
- The key travels as `x-api-key`; `Authorization: Bearer` only for a token given as `auth_token`.
- The API version is chosen for each request (`api_version`) unless the caller pinned one.
- Nothing is dropped silently: what the API does not support is an `LLMBadRequestError` that names it, before sending.
- Nothing is sent that nobody asked for, except `max_tokens`, which the API requires.
- What a model refuses (forced tools, effort, prefill) is left to its server: models differ, and change.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from typing import Final

from ...chat.message_checks import bad
from ...chat.messages import ChatRequest, encode_body
from ...chat.options import refuse_foreign, unsupported
from ...decode.jsontext import JSON, JSONObject
from ...errors import LLMBadRequestError
from ...http.http11 import HTTPRequest, RequestHead, RequestHeaders
from ...http.secret import Secret
from ...http.urls import BaseURL
from ...limits import DEFAULT_LIMITS, Limits
from ...policy.retry import FATAL, TRANSIENT, retry_table
from ..base import Operation, ReplyForm, ReplyReader
from ..endpoint import Endpoint, GivenHeaders
from ..failures import QUOTA_CODES, new_operation
from ..json_replies import ModelsReader
from ..registry import DIALECTS
from ..translate import merged
from .assembly import FINISH_REASONS
from .messages import API_VERSION, SAMPLING_VERSION, WIRE, is_blank, text_or_blocks, translated, version_of_thinking
from .reply import MessageStreamReader, WholeMessageReader

__all__ = ["API_VERSION", "DEFAULT_MAX_TOKENS", "FINISH_REASONS", "RETRY_TABLE", "SAMPLING_VERSION", "AnthropicCodec"]

PROVIDER: Final = "anthropic"

#: The common table has this wire's statuses (529) and types already.
RETRY_TABLE: Final = retry_table(
    codes={**QUOTA_CODES, "conflict_error": FATAL}, events={"internal_server_error": TRANSIENT}
)

_RULES: Final = DIALECTS["anthropic"].rules


class AnthropicCodec:
    """Requests and readers for one server and credential.

    `base_url` may be an `Endpoint`, which brings credential and headers. `credential` is sent as `x-api-key`,
    `auth_token` as a bearer token; with neither no credential is sent (loopback servers). `api_version` pins the
    `anthropic-version` field. `betas` go into `anthropic-beta`. `headers` are added to every request. Raises
    `LLMBadRequestError` for a header that cannot be sent.
    """

    def __init__(
        self,
        base_url: BaseURL | Endpoint,
        *,
        credential: Secret | None = None,
        auth_token: Secret | None = None,
        api_version: str | None = None,
        betas: Sequence[str] = (),
        headers: GivenHeaders = (),
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        if not isinstance(base_url, Endpoint):
            base_url = Endpoint(
                base_url,
                credential=auth_token or credential,
                auth="x-api-key" if auth_token is None else "bearer",
                headers=headers,
            )
        self.endpoint = base_url
        # A base_url that ends in /v1 is what users of the other wires are used to.
        self._root = "" if base_url.base_url.path.endswith("/v1") else "v1/"
        self.api_version = api_version
        self.limits = limits
        self._betas = ("anthropic-beta", betas if isinstance(betas, str) else ",".join(betas))
        # Built at once, so that a value that cannot be sent is refused where it was given.
        self._head("POST", "messages", api_version or API_VERSION)

    def with_credential(self, secret: Secret) -> AnthropicCodec:
        """The same codec with another credential of the same kind (key or token)."""
        other = copy(self)
        other.endpoint = self.endpoint.with_credential(secret)
        return other

    def build(self, chat: ChatRequest) -> HTTPRequest:
        """The request for `chat`. Raises `LLMBadRequestError` naming what the API does not support."""
        return self._build(chat, api_version(chat, self.api_version))

    def operation(self, chat: ChatRequest) -> Operation:
        """`POST /v1/messages`, and how its reply is read."""
        version = api_version(chat, self.api_version)
        request = self._build(chat, version)
        reader = MessageStreamReader if chat.stream else WholeMessageReader
        return self._operation(
            request, "sse" if chat.stream else "json", chat.model, partial(reader, chat.model, version, self.limits)
        )

    def models_operation(self) -> Operation:
        """`GET /v1/models`; the reader's `models` are their ids, and `response().raw` is the whole list."""
        version = self.api_version or API_VERSION
        request = HTTPRequest(self._head("GET", "models?limit=1000", version))
        return self._operation(request, "json", None, partial(AnthropicModelsReader, PROVIDER, self.limits))

    def _build(self, chat: ChatRequest, version: str) -> HTTPRequest:
        body = encode_body(build_body(chat, version))
        return HTTPRequest(self._head("POST", "messages", version, chat.extra_headers), body)

    def _head(self, method: str, path: str, version: str, extra: RequestHeaders = ()) -> RequestHead:
        fields: RequestHeaders = (("Accept", "application/json"), ("anthropic-version", version))
        if self._betas[1]:
            fields = (*fields, self._betas)
        return self.endpoint.head(method, self._root + path, fields, extra)

    def _operation(
        self, request: HTTPRequest, form: ReplyForm, model: str | None, new_reader: Callable[[], ReplyReader]
    ) -> Operation:
        return new_operation(
            request, form, new_reader, provider=PROVIDER, model=model, retry_table=RETRY_TABLE, rules=_RULES
        )


class AnthropicModelsReader(ModelsReader):
    """The reader of `GET /v1/models`."""

    def read(self, value: JSONObject) -> None:
        data = value.get("data")
        if not isinstance(data, list):
            (self.reported if "error" in value else self.unexpected)(value)
            return
        self._raw = value
        self.models = [item["id"] for item in data if isinstance(item, dict) and isinstance(item.get("id"), str)]


#: `max_tokens` where the caller names none.
DEFAULT_MAX_TOKENS: Final = 8192

#: Options that are fields of the body as they are, and their names there.
_PLAIN_OPTIONS: Final = {
    "top_p": "top_p", "top_k": "top_k", "stop": "stop_sequences", "service_tier": "service_tier",
}  # fmt: skip
_TIERS: Final = ("auto", "standard_only")
_MAX_STRICT_TOOLS: Final = 20
_MAX_MARKERS: Final = 4
_TTLS: Final = (None, "5m", "1h")
_TOOL_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_EFFORTS: Final = frozenset({"low", "medium", "high", "xhigh", "max"})
_SAMPLING: Final = ("temperature", "top_p", "top_k")


def api_version(chat: ChatRequest, chosen: str | None) -> str:
    """The value of the `anthropic-version` field for this request.

    `chosen` is the caller's, which wins. Else the version under which the history's thinking was made; else the
    sampling version if the request samples, and the current one otherwise. Raises `LLMBadRequestError` naming the
    sampling parameter that the version does not have.
    """
    sampling = next((name for name in _SAMPLING if _is_set(chat, name)), None)
    held = None if chosen else version_of_thinking(chat.messages)
    version = chosen or held or (SAMPLING_VERSION if sampling else API_VERSION)
    if sampling and version == API_VERSION:
        why = "the conversation holds thinking made under it; leave the parameter out" if held else "choose 2023-06-01"
        raise unsupported(sampling, WIRE, f"API version {API_VERSION} has no sampling parameters ({why})")
    return version


def build_body(chat: ChatRequest, version: str) -> JSONObject:
    """The body for `chat` under API `version`. Raises `LLMBadRequestError` naming what the API does not support."""
    refuse_foreign(chat.options, "anthropic", WIRE)
    if chat.options.get("n", 1) != 1:
        raise unsupported("n", WIRE, "it gives one answer for each request")
    system, messages = translated(chat, version)
    max_tokens = DEFAULT_MAX_TOKENS if chat.max_tokens is None else chat.max_tokens
    body: JSONObject = {"model": chat.model, "max_tokens": max_tokens, "messages": messages}
    if system:
        body["system"] = text_or_blocks(system)
    if chat.tools:
        body["tools"] = [_tool(tool, f"tools[{i}]") for i, tool in enumerate(chat.tools)]
    choice = _tool_choice(chat)
    if choice is not None:
        body["tool_choice"] = choice
    if chat.temperature is not None:
        body["temperature"] = chat.temperature
    if chat.options:
        body.update(_fields(chat.options, chat.extra_body.get("max_tokens", max_tokens)))
    _check_grammars(body)
    if chat.stream:
        body["stream"] = True
    body = merged(body, chat.extra_body)
    if not body["model"]:
        raise LLMBadRequestError("model is missing", code="invalid_argument")
    _check_markers(body)
    _check_thinking(body)
    return body


def _is_set(chat: ChatRequest, name: str) -> bool:
    if name in chat.options or chat.extra_body.get(name) is not None:
        return True
    return name == "temperature" and chat.temperature is not None


def _fields(options: JSONObject, max_tokens: int) -> JSONObject:
    """The fields of the body that say these options."""
    fields: JSONObject = {field: options[name] for name, field in _PLAIN_OPTIONS.items() if name in options}
    for i, text in enumerate(options.get("stop", ())):
        if is_blank(text):
            raise unsupported(f"stop[{i}]", WIRE, "it must have more than white space")
    tier = options.get("service_tier")
    if tier is not None and tier not in _TIERS:
        raise unsupported("service_tier", WIRE, f"it knows {' and '.join(_TIERS)}, not {tier!r:.60}")
    if "user" in options:
        fields["metadata"] = {"user_id": options["user"]}
    output = _output_config(options)
    if output:
        fields["output_config"] = output
    thinking = _thinking(options, max_tokens)
    if thinking is not None:
        fields["thinking"] = thinking
    return fields


def _thinking(options: JSONObject, max_tokens: int) -> JSONObject | None:
    budget = options.get("thinking")
    if options.get("reasoning_effort") == "none":
        if budget:
            raise bad(
                "thinking", "gives a budget, and reasoning_effort='none' says not to think: leave one of them out"
            )
        budget = False
    if budget is None:
        return None
    if budget is False:
        return {"type": "disabled"}
    if budget < 1024:
        raise bad("thinking", f"must be at least 1024 tokens on the Anthropic API, not {budget}")
    if budget >= max_tokens:
        raise bad(
            "thinking", f"must be below max_tokens, which includes it ({budget} of {max_tokens}): increase max_tokens"
        )
    return {"type": "enabled", "budget_tokens": budget}


# -- tools and parameters -------------------------------------------------------------------------------------------


def _tool(tool: JSONObject, path: str) -> JSONObject:
    if tool["type"] != "function":
        if isinstance(tool.get(tool["type"]), dict):
            raise unsupported(path, WIRE, f"it has no tools of type {tool['type']!r:.60}")
        return tool
    function = dict(tool["function"])
    if not _TOOL_NAME.fullmatch(function["name"]):
        raise bad(f"{path}.name", f"must be 1 to 128 letters, digits, _ or -, not {function['name']!r:.60}")
    schema = function.pop("parameters", None) or {"properties": {}}
    entry: JSONObject = {"name": function.pop("name")}
    description = function.pop("description", None)
    if description is not None:
        entry["description"] = description
    schema = schema if "type" in schema else {"type": "object", **schema}
    if schema["type"] != "object":
        raise bad(f"{path}.parameters.type", f'must be "object", not {schema["type"]!r:.60}')
    entry["input_schema"] = _strict_parameters(schema, f"{path}.parameters") if function.get("strict") else schema
    entry.update(function)
    entry.update((key, value) for key, value in tool.items() if key not in ("type", "function"))
    return entry


def _strict_parameters(schema: JSONObject, path: str) -> JSONObject:
    from .closed import closed_schema  # few requests have one

    if schema.get("properties") == {}:
        # A function without arguments, not one that takes any.
        schema = {**schema, "additionalProperties": False}
    closed = closed_schema(schema, path)
    if closed.get("type") != "object":
        raise unsupported(path, WIRE, "what a strict tool takes is one object, no union")
    return closed


def _check_grammars(body: JSONObject) -> None:
    """What the strict tools and the output format of one request may be together."""
    schemas = [tool["input_schema"] for tool in body.get("tools", ()) if tool.get("strict") and "input_schema" in tool]
    if len(schemas) > _MAX_STRICT_TOOLS:
        raise unsupported("tools", WIRE, f"it takes {_MAX_STRICT_TOOLS} strict tools, and these are {len(schemas)}")
    output = body.get("output_config", {}).get("format")
    if schemas or output is not None:
        from .closed import check_closed

        what = "tools" if output is None else "response_format with strict tools" if schemas else "response_format"
        check_closed(schemas if output is None else [*schemas, output["schema"]], what)


def _check_markers(body: JSONObject) -> None:
    """Cache markers: their form, and at most four of them wherever they stand."""
    found = [body["cache_control"]] if body.get("cache_control") is not None else []
    for blocks in (body.get("system"), body.get("tools")):
        found += _markers(blocks)
    for turn in body["messages"] if isinstance(body["messages"], list) else ():
        if isinstance(turn, dict):
            found += _markers(turn.get("content"))
    for marker in found:
        if not isinstance(marker, dict) or marker.get("type") != "ephemeral" or marker.get("ttl") not in _TTLS:
            form = '{"type": "ephemeral"}, with "ttl": "5m" or "1h" if wanted'
            raise bad("cache_control", f"must be {form}, not {marker!r:.60}")
    if len(found) > _MAX_MARKERS:
        raise bad("cache_control", f"is set {len(found)} times; the Anthropic API takes {_MAX_MARKERS}")


def _markers(blocks: JSON) -> list[JSON]:
    found: list[JSON] = []
    for block in blocks if isinstance(blocks, list) else ():
        if isinstance(block, dict):
            if block.get("cache_control") is not None:
                found.append(block["cache_control"])
            if block.get("type") == "tool_result":
                found += _markers(block.get("content"))
    return found


def _check_thinking(body: JSONObject) -> None:
    thinking, choice = body.get("thinking"), body.get("tool_choice")
    if not isinstance(thinking, dict):
        return
    if thinking.get("type") == "enabled":
        _check_rounds(body["messages"])
    forced = isinstance(choice, dict) and choice.get("type") in ("any", "tool")
    if forced and thinking.get("type") in ("enabled", "adaptive"):
        raise unsupported("tool_choice", WIRE, "a model that thinks chooses its tools: leave it out, or thinking")


def _check_rounds(turns: JSON) -> None:
    """With a budget for thinking, the calls that the last results answer must have been thought about."""
    if not isinstance(turns, list) or len(turns) < 2:
        return
    asked, answered = ([block.get("type") for block in blocks] for blocks in map(_blocks_of, turns[-2:]))
    if "tool_result" in answered and "tool_use" in asked and asked[0] not in ("thinking", "redacted_thinking"):
        why = "has a budget, and the calls that the last results answer were made without thinking"
        raise bad("thinking", f"{why}: leave it out until the user speaks again")


def _blocks_of(turn: JSON) -> list[JSONObject]:
    content = turn.get("content") if isinstance(turn, dict) else None
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _tool_choice(chat: ChatRequest) -> JSONObject | None:
    choice = chat.tool_choice
    if choice is None:
        translated: JSONObject | None = None
    elif choice == "required":
        translated = {"type": "any"}
    elif isinstance(choice, str):
        translated = {"type": choice}
    elif choice["type"] == "function":
        translated = {"type": "tool", "name": choice["function"]["name"]}
    elif choice["type"] in ("auto", "any", "none", "tool"):
        translated = choice
    else:
        raise unsupported("tool_choice", WIRE, f"it has no choice of type {choice['type']!r:.60}")
    if chat.options.get("parallel_tool_calls") is False and (chat.tools or translated is not None):
        translated = {"type": "auto"} if translated is None else translated
        if translated["type"] != "none":
            translated = {**translated, "disable_parallel_tool_use": True}
    return translated


def _output_config(options: JSONObject) -> JSONObject:
    config: JSONObject = {}
    effort = options.get("reasoning_effort")
    if effort in _EFFORTS:
        config["effort"] = effort
    elif effort is not None and effort != "none":
        known = "it knows none, low, medium, high, xhigh and max"
        raise unsupported("reasoning_effort", WIRE, f"{known}, not {effort!r:.60}")
    wanted = options.get("response_format")
    if wanted is None or wanted["type"] == "text":
        return config
    inner = wanted["json_schema"] if wanted["type"] == "json_schema" else {}
    if not inner.get("schema"):
        why = "it has no JSON without a schema: give one, or ask for JSON in a message and leave response_format out"
        raise unsupported("response_format", WIRE, why)
    from .closed import closed_schema  # few requests have one

    schema = closed_schema(inner["schema"], "response_format")
    if isinstance(inner.get("description"), str):
        schema.setdefault("description", inner["description"])
    config["format"] = {"type": "json_schema", "schema": schema}
    return config
