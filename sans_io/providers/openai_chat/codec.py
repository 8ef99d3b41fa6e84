"""The codec of OpenAI's chat completions wire, for every vendor that speaks it (`registry`).

    ChatRequest ──build()──> HTTPRequest        reply bytes ──operation().new_reader()──> events, ChatResponse

Rules of this file:
- Immutable configuration and pure functions; where and as whom is the endpoint's business.
- Nothing is sent that the caller did not say, but `stream_options` where usage would not come otherwise.
- What the API does not support is refused by name. What belongs to another wire's history (thinking
  blocks with signatures, `is_error`) is left out: it stays in the caller's history for that wire.
"""

from __future__ import annotations

import re
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Final

from ...chat.message_checks import bad
from ...chat.messages import encode_body
from ...chat.options import refuse_foreign, unsupported
from ...chat.shapes import NATIVE
from ...errors import LLMBadRequestError
from ...http.http11 import HTTPRequest, RequestHead, merge_headers
from ...http.urls import path_segment
from ...limits import DEFAULT_LIMITS, Limits
from ...policy.retry import ONCE, RetryTable, retry_table
from ...records import replace
from ..base import Operation, ReplyReader
from ..endpoint import Endpoint
from ..failures import QUOTA_CODES, FailureRules, new_operation
from ..registry import WIRES, Dialect, dialect_for
from ..translate import merged
from .reply import OpenAIBodyReader, OpenAIModelsReader, OpenAIStreamReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...chat.messages import ChatRequest
    from ...decode.jsontext import JSON, JSONObject
    from ...http.http11 import RequestHeaders
    from ...http.secret import Secret
    from ...http.urls import BaseURL
    from ..endpoint import Auth
    from ..schemas import Problem

RETRY_TABLE: Final[RetryTable] = retry_table(statuses={409: ONCE}, codes=QUOTA_CODES)

_WIRE: Final = WIRES["openai"].title
_USER_AGENT: Final = ("User-Agent", "cloud-llm")
_ACCEPT: Final = ("Accept", "application/json, text/event-stream")


class OpenAICodec:
    """One server, one credential. `build(chat)` gives the request, `operation(chat)` all that a `Call` needs.

    `base_url` is where the API begins (".../v1"), for Azure also the bare endpoint; the keywords say as whom it is
    asked. Or it is an `Endpoint` that has both. Without a `dialect` it is known by the host. `credential` is sent as
    the dialect says, or as `auth` says; `headers` go with every request and win over our own. `api_version` chooses
    Azure's deployment style. Raises `LLMBadRequestError` for headers that cannot be sent.
    """

    __slots__ = ("_around", "_fields", "_rules", "api_version", "dialect", "endpoint", "limits", "provider")

    def __init__(
        self,
        base_url: BaseURL | Endpoint,
        dialect: Dialect | None = None,
        *,
        credential: Secret | None = None,
        headers: RequestHeaders = (),
        organization: str | None = None,
        project: str | None = None,
        api_version: str | None = None,
        auth: Auth | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        place = base_url.base_url if isinstance(base_url, Endpoint) else base_url
        self.dialect = dialect = dialect or dialect_for(place)
        if isinstance(base_url, Endpoint):
            self.endpoint = base_url
        else:
            self.endpoint = Endpoint(place, credential=credential, auth=auth or dialect.auth, headers=headers)
        self.api_version = api_version
        #: What goes before and behind each path.
        self._around = _azure_path(place, api_version) if dialect.azure else ("", "")
        self.limits = limits
        #: What errors and responses call the server.
        self.provider = place.origin.host if dialect.name == "generic" else dialect.name
        self._rules = _rules(place, dialect)
        fields: list[tuple[str, str]] = [_USER_AGENT, _ACCEPT]
        if organization:
            fields.append(("OpenAI-Organization", organization))
        if project:
            fields.append(("OpenAI-Project", project))
        self._fields: RequestHeaders = merge_headers((), fields)

    def __repr__(self) -> str:
        return f"OpenAICodec({self.endpoint.base_url.origin}, {self.dialect.name!r})"

    def with_credential(self, credential: Secret | None) -> OpenAICodec:
        """The same server with another credential: rotating keys, one codec per request."""
        other = copy(self)
        other.endpoint = self.endpoint.with_credential(credential)
        return other

    # -- requests ---------------------------------------------------------------------------------------------------

    def build(self, chat: ChatRequest) -> HTTPRequest:
        """The request for this chat. Raises `LLMBadRequestError` naming what the API or dialect does not support."""
        body = self._body(chat)
        return HTTPRequest(self._head("POST", self._chat_path(chat.model), chat.extra_headers), encode_body(body))

    def operation(self, chat: ChatRequest) -> Operation:
        """The request and how its reply is read; serves every attempt of a call."""
        new_reader: Callable[[], ReplyReader]
        if chat.stream:
            new_reader = partial(
                OpenAIStreamReader,
                self.provider,
                chat.model,
                self._rules,
                self.limits,
                expected=chat.options.get("n", 1),
            )
        else:
            new_reader = partial(OpenAIBodyReader, self.provider, chat.model, self._rules, self.limits)
        return self._operation(self.build(chat), new_reader, chat.model, stream=chat.stream)

    def models_operation(self) -> Operation:
        """`GET /models`; the reader it makes has the ids in `models` once it has ended."""
        request = HTTPRequest(self._head("GET", "/models"))
        return self._operation(request, partial(OpenAIModelsReader, self.provider, self.limits), None, stream=False)

    def _operation(
        self, request: HTTPRequest, new_reader: Callable[[], ReplyReader], model: str | None, *, stream: bool
    ) -> Operation:
        return new_operation(
            request,
            "sse" if stream else "json",
            new_reader,
            provider=self.provider,
            model=model,
            retry_table=RETRY_TABLE,
            rules=self._rules,
        )

    def _head(self, method: str, path: str, extra: RequestHeaders = ()) -> RequestHead:
        before, behind = self._around
        return self.endpoint.head(method, f"{before}{path}{behind}", self._fields, extra)

    def _chat_path(self, model: str | None) -> str:
        if self.dialect.azure and self.api_version is not None and not self._deployment_in_url():
            if model is None:
                raise LLMBadRequestError("model must name the Azure deployment", code="invalid_argument")
            return f"/deployments/{path_segment(model, 'model')}/chat/completions"
        return "/chat/completions"

    # -- the body ---------------------------------------------------------------------------------------------------

    def _body(self, chat: ChatRequest) -> JSONObject:
        dialect = self.dialect
        body: JSONObject = {}
        if chat.model is not None:
            body["model"] = chat.model
        elif dialect.needs_model and "model" not in chat.extra_body and not self._deployment_in_url():
            raise LLMBadRequestError(f"model is missing: {self.provider} has no default", code="invalid_argument")
        messages = _messages(chat, dialect)
        body["messages"] = messages
        if chat.stream:
            body["stream"] = True
            if dialect.usage_in_stream:
                body["stream_options"] = {"include_usage": True}
        if chat.max_tokens is not None:
            body[dialect.max_tokens_field] = chat.max_tokens
        if chat.temperature is not None:
            body["temperature"] = chat.temperature
        if chat.options:
            body.update(_said(chat.options, dialect))
        if chat.tools:
            body["tools"] = _tools(chat.tools, dialect)
        if chat.tool_choice is not None:
            body["tool_choice"] = _tool_choice(chat.tool_choice, dialect)
        return merged(body, chat.extra_body)

    def _deployment_in_url(self) -> bool:
        return self.dialect.azure and "/deployments/" in self.endpoint.base_url.path


#: Options that are fields of the body, under the same names and as they are.
_PLAIN_OPTIONS: Final = (
    "top_p", "frequency_penalty", "presence_penalty", "stop", "n", "reasoning_effort", "verbosity",
    "parallel_tool_calls", "service_tier", "metadata",
)  # fmt: skip


def _said(options: JSONObject, dialect: Dialect) -> JSONObject:
    """The fields of the body that say these options."""
    refuse_foreign(options, "openai", _WIRE)
    fields: JSONObject = {name: options[name] for name in _PLAIN_OPTIONS if name in options}
    for name in ("frequency_penalty", "presence_penalty"):
        if not -2 <= options.get(name, 0) <= 2:
            raise bad(name, f"must be between -2 and 2, not {options[name]}")
    if options.get("n", 1) > 1 and not dialect.many_choices:
        raise unsupported("n", dialect.name, "it answers with one choice only")
    for name in dialect.lacks:
        if name in options:
            raise unsupported(name, dialect.name)
    if "metadata" in options:
        _check_metadata(options["metadata"])
    if "seed" in options:
        fields[dialect.seed_field] = options["seed"]
    if "user" in options:
        fields[dialect.user_field] = options["user"]
    if "logprobs" in options:
        fields |= {"logprobs": True, "top_logprobs": options["logprobs"]}
    if "response_format" in options:
        fields["response_format"] = _response_format(options["response_format"], dialect)
    return fields


def _check_metadata(pairs: JSONObject) -> None:
    if len(pairs) > 16:
        raise bad("metadata", f"has {len(pairs)} entries; the API takes 16")
    for key, value in pairs.items():
        if len(key) > 64:
            raise bad("metadata", f"has a key of {len(key)} characters; the API takes 64: {key[:40]!r}...")
        if len(value) > 512:
            raise bad(f"metadata.{key}", f"has {len(value)} characters; the API takes 512")


def _azure_path(base_url: BaseURL, api_version: str | None) -> tuple[str, str]:
    """What goes before and behind each path below `base_url`, which may be the bare endpoint."""
    base = base_url.path
    if api_version is None:
        return ("" if base.endswith("/v1") or "/openai" in base else "/openai/v1"), ""
    version = path_segment(api_version, "api_version")
    return ("" if "/openai" in base else "/openai"), f"?api-version={version}"


def _rules(base_url: BaseURL, dialect: Dialect) -> FailureRules:
    if dialect.rules.not_found or dialect.azure or base_url.path or str(base_url) == dialect.base_url:
        return dialect.rules
    # Most servers have the API below /v1 only; those of DeepSeek and Perplexity begin at the root.
    return replace(dialect.rules, not_found="is /v1 missing from base_url?")


#: Keys of messages that are another wire's: native forms, Ollama's thinking and tool names, the error flag.
_FOREIGN_KEYS: Final = frozenset({NATIVE, "thinking", "is_error", "tool_name"})
#: Keys of an assistant message beside which its content may be null.
_INSTEAD_OF_CONTENT: Final = frozenset({"tool_calls", "function_call", "refusal", "audio"})
#: Content parts that only Anthropic's wire has.
_FOREIGN_PARTS: Final = frozenset({
    "image", "document", "tool_use", "tool_result", "redacted_thinking", "server_tool_use", "search_result",
    "container_upload",
})  # fmt: skip


def _messages(chat: ChatRequest, dialect: Dialect) -> list[JSONObject]:
    messages: list[JSONObject] = []
    if chat.system is not None:
        messages.append({"role": "system", "content": chat.system})
    for i, message in enumerate(chat.messages):
        if len(message) == 2 and isinstance(message.get("content"), str):
            messages.append(message)
        else:
            messages.append(_message(message, i, dialect))
    return messages


def _message(message: JSONObject, i: int, dialect: Dialect) -> JSONObject:
    out: JSONObject = {}
    for key, value in message.items():
        if key == "content":
            out[key] = _content(value, i, dialect) if isinstance(value, list) else value
        elif key == "images" and value:
            raise unsupported(f"messages[{i}].images", _WIRE, "use image_url parts in content")
        elif key == "audio" and isinstance(value, dict) and "id" in value:
            out[key] = {"id": value["id"]}  # What came back with an answer holds its data too.
        elif key not in _FOREIGN_KEYS and value is not None and not (key == "tool_calls" and not value):
            out[key] = value
    if message["role"] == "assistant" and out.get("content") is None and out.keys().isdisjoint(_INSTEAD_OF_CONTENT):
        out["content"] = ""  # The wire refuses null unless something else is said.
    return out


def _content(parts: list[JSON], i: int, dialect: Dialect) -> JSON:
    kept = []
    for k, part in enumerate(parts):
        kind = part["type"]
        if kind in _FOREIGN_PARTS:
            raise unsupported(f"messages[{i}].content[{k}]", _WIRE, f"a part of type {kind!r} is Anthropic's")
        if kind != "thinking" or dialect.keeps_thinking:
            kept.append(part)
    return kept or ""


#: Anthropic's server tools carry a date: web_search_20260318.
_DATED_TOOL: Final = re.compile(r"[a-z_]+_20[0-9]{6}")


def _tools(tools: tuple[JSONObject, ...], dialect: Dialect) -> list[JSONObject]:
    for i, tool in enumerate(tools):
        if _DATED_TOOL.fullmatch(tool["type"]):
            raise unsupported(f"tools[{i}]", _WIRE, f"{tool['type']!r} is a server tool of Anthropic's")
        function = tool["function"] if tool["type"] == "function" else {}
        if dialect.strict_schemas and function.get("strict") and function.get("parameters"):
            problems = _strict_problems(function["parameters"], f"tools[{i}].parameters", certain=True)
            if problems:
                raise _not_strict(problems)
    return list(tools)


def _tool_choice(choice: JSON, dialect: Dialect) -> JSON:
    if choice == "required":
        return dialect.required
    if isinstance(choice, dict) and choice["type"] in ("tool", "any", "auto", "none"):
        raise unsupported("tool_choice", _WIRE, "it is Anthropic's form; see parallel_tool_calls")
    return choice


def _response_format(value: JSONObject, dialect: Dialect) -> JSONObject:
    """With `strict` where the schema allows it; one that the caller asked for is refused where it does not."""
    if value.get("type") != "json_schema" or not dialect.strict_schemas:
        return value
    inner = value["json_schema"]
    asked = inner.get("strict")
    if asked is False or not isinstance(inner.get("schema"), dict):
        return value
    problems = _strict_problems(inner["schema"], "response_format", certain=asked is not None)
    if asked is None and not problems:
        return {**value, "json_schema": {**inner, "strict": True}}
    if asked and problems:
        raise _not_strict(problems)
    return value


def _strict_problems(schema: JSON, path: str, *, certain: bool) -> list[Problem]:
    from ..schemas import strict_problems  # few requests have a schema

    return strict_problems(schema, path, certain=certain)


def _not_strict(problems: list[Problem]) -> LLMBadRequestError:
    path, why = problems[0]
    return bad(path, f"{why}. Strict mode does not take the schema as it is: change it, or leave strict out")
