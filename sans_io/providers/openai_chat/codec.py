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
from ...errors import LLMBadRequestError
from ...http.http11 import HTTPRequest, RequestHead, merge_headers
from ...http.urls import path_segment
from ...limits import DEFAULT_LIMITS, Limits
from ...policy.retry import ONCE, RetryTable, retry_table
from ...records import replace
from ..base import Operation, ReplyReader
from ..endpoint import Endpoint
from ..failures import QUOTA_CODES, FailureRules, new_operation
from ..registry import Dialect, dialect_for
from ..translate import merged, text_of
from .messages import WIRE, translated
from .reply import OpenAIBodyReader, OpenAIModelsReader, OpenAIStreamReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...chat.messages import ChatRequest
    from ...decode.jsontext import JSON, JSONObject
    from ...http.http11 import RequestHeaders
    from ...http.secret import Secret
    from ...http.urls import BaseURL
    from ..endpoint import Auth
    from .strict import Problem

RETRY_TABLE: Final[RetryTable] = retry_table(statuses={409: ONCE}, codes=QUOTA_CODES)

_USER_AGENT: Final = ("User-Agent", "cloud-llm")
_ACCEPT: Final = ("Accept", "application/json, text/event-stream")


class OpenAICodec:
    """One server, one credential. `build(chat)` gives the request, `operation(chat)` all that a `Call` needs.

    `base_url` is where the API begins (".../v1"), for Azure also the bare endpoint; the keywords say as whom it is
    asked. Or it is an `Endpoint` that has both. Without a `dialect` it is known by the host. `credential` is sent as
    the dialect says, or as `auth` says; `headers` go with every request and win over our own. `api_version` (or
    `api-version` in the URL's query) chooses Azure's deployment style, but for a URL that ends in /v1. Raises
    `LLMBadRequestError` for headers that cannot be sent.
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
        if dialect.azure and api_version is None:
            api_version = place.parameter("api-version")
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
        asked = chat.extra_body.get("n", chat.options.get("n", 1))
        apart = self.dialect.thinks_apart
        new_reader: Callable[[], ReplyReader]
        if chat.stream:
            new_reader = partial(
                OpenAIStreamReader,
                self.provider,
                chat.model,
                self._rules,
                self.limits,
                expected=asked if type(asked) is int else 1,
                single=None if asked is None else asked == 1,
                thinks_apart=apart,
            )
        else:
            new_reader = partial(
                OpenAIBodyReader,
                self.provider,
                chat.model,
                self._rules,
                self.limits,
                single=asked == 1,
                thinks_apart=apart,
            )
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
        if self.dialect.azure and self.api_version is not None and not self._model_in_body():
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
        body["messages"] = _messages(chat, dialect)
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
            if "parallel_tool_calls" in body and not chat.tools and "tools" not in chat.extra_body:
                del body["parallel_tool_calls"]  # There is nothing to call; servers refuse the field then.
            if dialect.says_json and body.get("response_format") == {"type": "json_object"}:
                _check_says_json(body["messages"])
        if chat.tools:
            body["tools"] = _tools(chat.tools, dialect)
        if chat.tool_choice is not None:
            body["tool_choice"] = _tool_choice(chat.tool_choice, dialect)
        return merged(body, chat.extra_body)

    def _deployment_in_url(self) -> bool:
        return self.dialect.azure and "/deployments/" in self.endpoint.base_url.path

    def _model_in_body(self) -> bool:
        """Whether a path needs no deployment: the URL has one, or is that of an API where the body's model names it."""
        return self._deployment_in_url() or self.endpoint.base_url.path.endswith(_MODEL_IN_BODY)


#: Options that are fields of the body, under the same names and as they are.
_PLAIN_OPTIONS: Final = (
    "top_p", "frequency_penalty", "presence_penalty", "stop", "n", "reasoning_effort", "verbosity",
    "parallel_tool_calls", "service_tier", "metadata",
)  # fmt: skip


def _said(options: JSONObject, dialect: Dialect) -> JSONObject:
    """The fields of the body that say these options."""
    refuse_foreign(options, "openai", WIRE)
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


def _messages(chat: ChatRequest, dialect: Dialect) -> list[JSONObject]:
    messages: list[JSONObject] = []
    if chat.system is not None:
        messages.append({"role": "system", "content": chat.system})
    # Most conversations are roles and texts only.
    plain = dialect.messages.silent and _are_plain(chat.messages)
    return messages + (list(chat.messages) if plain else translated(chat.messages, dialect, chat.tools))


def _are_plain(messages: tuple[JSONObject, ...]) -> bool:
    for message in messages:
        if len(message) != 2 or type(message.get("content")) is not str or message["role"] == "developer":
            return False
    return True


def _check_says_json(messages: list[JSONObject]) -> None:
    for message in messages:
        content = message.get("content")
        if "json" in (content if isinstance(content, str) else text_of(content)).lower():
            return
    raise bad("response_format", 'is "json", and no message has the word: the API wants to be told what JSON to write')


def _check_metadata(pairs: JSONObject) -> None:
    if len(pairs) > 16:
        raise bad("metadata", f"has {len(pairs)} entries; the API takes 16")
    for key, value in pairs.items():
        if len(key) > 64:
            raise bad("metadata", f"has a key of {len(key)} characters; the API takes 64: {key[:40]!r}...")
        if len(value) > 512:
            raise bad(f"metadata.{key}", f"has {len(value)} characters; the API takes 512")


#: How the URLs of Azure's APIs end that are asked for a model in the body; the second is that of its model catalogue.
_MODEL_IN_BODY: Final = ("/v1", "/models")


def _azure_path(base_url: BaseURL, api_version: str | None) -> tuple[str, str]:
    """What goes before and behind each path below `base_url`, which may be the bare endpoint."""
    base = base_url.path
    if api_version is None:
        if base.endswith("/models") or "/deployments/" in base:
            raise bad("api_version", "is missing: this address wants one, and that of Azure's /openai/v1 needs none")
        return ("" if base.endswith("/v1") else "/v1" if base.endswith("/openai") else "/openai/v1"), ""
    version = path_segment(api_version, "api_version")
    said = base_url.parameter("api-version")
    if said is not None and said != version:
        raise bad("api_version", f"is {api_version!r:.60}, and base_url has another api-version: leave one of them out")
    before = "" if "/openai" in base or base.endswith("/models") else "/openai"
    return before, ("" if said is not None else f"?api-version={version}")


def _rules(base_url: BaseURL, dialect: Dialect) -> FailureRules:
    versioned = any(part in base_url.path for part in ("/v1", "/v2", "/v3"))
    if dialect.azure or str(base_url) == dialect.base_url or versioned:
        return dialect.rules
    # Most servers have the API below /v1 only; those of DeepSeek and Perplexity begin at the root.
    return replace(dialect.rules, may_lack_v1=True)


#: Anthropic's server tools carry a date: web_search_20260318.
_DATED_TOOL: Final = re.compile(r"[a-z_]+_20[0-9]{6}")


#: What a function without arguments takes, and in strict mode.
_NOTHING: Final[JSONObject] = {"properties": {}}
_CLOSED: Final[JSONObject] = {"properties": {}, "required": [], "additionalProperties": False}
#: Keys of a function's declaration.
_FUNCTION_KEYS: Final = ("name", "description", "parameters", "strict")


def _tools(tools: tuple[JSONObject, ...], dialect: Dialect) -> list[JSONObject]:
    return [_tool(tool, f"tools[{i}]", dialect) for i, tool in enumerate(tools)]


def _tool(tool: JSONObject, path: str, dialect: Dialect) -> JSONObject:
    kind = tool["type"]
    if _DATED_TOOL.fullmatch(kind):
        raise unsupported(path, WIRE, f"{kind!r} is a server tool of Anthropic's")
    if kind != "function":
        if dialect.tools and kind not in dialect.tools:
            raise unsupported(path, dialect.name, f"its tools are of type {', '.join(dialect.tools)}, not {kind!r:.60}")
        if kind == "custom" and not (isinstance(tool.get(kind), dict) and tool[kind].get("name")):
            raise bad(f"{path}.custom", "must be a dict with the name of the tool")
        return tool
    function = tool["function"]
    schema = function.get("parameters")
    strict = bool(function.get("strict"))
    if schema is None and (dialect.needs_parameters or (strict and dialect.strict_schemas)):
        schema = {}
    if schema is not None and "type" not in schema:
        schema = {"type": "object", **(schema or (_CLOSED if strict else _NOTHING))}
        function = {**function, "parameters": schema}
    if schema and strict and dialect.strict_schemas:
        problems = _strict_problems(schema, f"{path}.parameters", certain=True)
        if problems:
            raise _not_strict(problems)
    if dialect.messages.keys is None:
        return tool if function is tool["function"] else {**tool, "function": function}
    if schema and schema.get("type", "object") != "object":
        raise bad(f"{path}.parameters.type", f'must be "object", not {schema["type"]!r:.60}')
    return {"type": "function", "function": {key: function[key] for key in _FUNCTION_KEYS if key in function}}


def _tool_choice(choice: JSON, dialect: Dialect) -> JSON:
    if choice == "required":
        return dialect.required
    if isinstance(choice, dict):
        if choice["type"] in ("tool", "any", "auto", "none"):
            raise unsupported("tool_choice", WIRE, "it is Anthropic's form; see parallel_tool_calls")
        known = (*dialect.tools, "allowed_tools") if "custom" in dialect.tools else dialect.tools
        if known and choice["type"] not in known:
            raise unsupported("tool_choice", dialect.name, f"it knows {', '.join(known)}, not {choice['type']!r:.60}")
    return choice


def _response_format(value: JSONObject, dialect: Dialect) -> JSONObject:
    """With `strict` where the schema allows it; one that the caller asked for is refused where it does not."""
    if value.get("type") == "json_schema" and not dialect.schemas:
        why = 'it knows "json" only: use that, and describe the schema in a message'
        raise unsupported("response_format", dialect.name, why)
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
    from .strict import strict_problems  # few requests have a schema

    return strict_problems(schema, path, certain=certain)


def _not_strict(problems: list[Problem]) -> LLMBadRequestError:
    path, why = problems[0]
    return bad(path, f"{why}. Strict mode does not take the schema as it is: change it, or leave strict out")
