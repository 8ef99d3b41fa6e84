"""A test server of the three wires, without I/O: requests in, `ReplyPlan`s out.

    server = FakeLLMServer()
    server.script(ScriptedReply(text=["Hel", "lo"]), ScriptedReply(error=ScriptedError("slow down", 429)))

Rules of this file:
- Which wire is spoken is decided by the path, as on real servers; a server made for one wire knows no other path.
- A scripted reply serves the next chat request, in order; then `reply` is asked; then the default answer is given.
- The same requests in the same order get the same bytes: ids count, the time stands still.
- Not safe for threads: whoever shares one (the loopback server does) calls `handle` under a lock.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from .answers import answer
from .asks import anthropic_ask, ollama_ask, openai_ask, parse_body
from .library import ModelLibrary
from .script import Ask, ReceivedRequest, RefusedError, ReplyPlan, ScriptedError, ScriptedReply, WireName
from .wires import EPOCH, WIRES, count_tokens, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from sans_io.decode.jsontext import JSON, JSONObject

Spoken: TypeAlias = WireName | Literal["all"]

OPENAI_MODELS: Final = ("gpt-5.4-mini", "gpt-6-luna", "llama-3.3-70b-versatile")
ANTHROPIC_MODELS: Final = ("claude-sonnet-5-5", "claude-haiku-5-5")
OLLAMA_MODELS: Final = ("llama3.2:latest", "llama3.2:3b", "qwen2.5:3b")
_JSON: Final = (("content-type", "application/json"),)


class FakeLLMServer:
    """`wire` is "openai", "anthropic", "ollama" or "all".

    `api_keys`: when given, a request without one of them is refused with 401. `models`: what the model lists show
    (per wire, by default a few known names); `strict_models` refuses others with 404 (Ollama always does).
    `reply`: a function of the `Ask` that gives a `ScriptedReply` or None. `context_window`: a longer prompt, counted
    in words, is refused in the vendor's words. `max_body`: a larger request is refused with 413 from its head alone.
    `check_signatures`: thinking blocks that come back must be those this server made, byte for byte. `unpullable`:
    model names whose pull fails. `headers` are added to every reply.

    `requests` holds what came in, the latest `keep` of it; `asks` the chat requests among it, in neutral words.
    """

    def __init__(
        self,
        wire: Spoken = "all",
        *,
        api_keys: Collection[str] | None = None,
        models: Sequence[str] | None = None,
        strict_models: bool = False,
        reply: Callable[[Ask], ScriptedReply | None] | None = None,
        context_window: int | None = None,
        max_body: int = 32 * 1024 * 1024,
        check_signatures: bool = True,
        unpullable: Collection[str] = (),
        headers: Sequence[tuple[str, str]] = (),
        keep: int = 10_000,
    ) -> None:
        if wire not in {"all", *WIRES}:
            raise ValueError(f"wire must be 'openai', 'anthropic', 'ollama' or 'all', not {wire!r}")
        self.wire = wire
        self.api_keys = None if api_keys is None else frozenset(api_keys)
        self.models = None if models is None else tuple(models)
        self.strict_models = strict_models
        self.reply = reply
        self.context_window = context_window
        self.max_body = max_body
        self.check_signatures = check_signatures
        self.headers = tuple(headers)
        self.library = ModelLibrary(OLLAMA_MODELS if models is None else models, unpullable)
        self.requests: deque[ReceivedRequest] = deque(maxlen=keep)
        self.asks: deque[Ask] = deque(maxlen=keep)
        self._script: deque[ScriptedReply] = deque()
        self._number = 0

    def script(self, *replies: ScriptedReply) -> None:
        """The next chat requests get these, one each, whatever their wire."""
        self._script.extend(replies)

    @property
    def unused(self) -> int:
        """How many scripted replies nobody has asked for yet."""
        return len(self._script)

    def early(self, request: ReceivedRequest) -> ReplyPlan | None:
        """What can be answered from a request's head alone, before its body has come (413): else None."""
        length = request.header("content-length") or ""
        if not length.isdecimal() or int(length) <= self.max_body:
            return None
        self.requests.append(request)
        error = ScriptedError("Request exceeds the maximum size", 413)
        return self._refusal(self._wire_of(request), error, close=True)

    def handle(self, request: ReceivedRequest) -> ReplyPlan:
        """The reply to a whole request. Never raises because of what is in it."""
        self.requests.append(request)
        self._number += 1
        wire = self._wire_of(request)
        try:
            return self._route(request, wire)
        except RefusedError as refused:
            return self._refusal(wire, refused.error)
        except (AttributeError, KeyError, TypeError, ValueError):
            # A body of unforeseen shape: what a real server calls a validation error.
            return self._refusal(wire, ScriptedError("Invalid request body.", 400))

    def _wire_of(self, request: ReceivedRequest) -> WireName:
        if self.wire != "all":
            return self.wire
        if request.path.startswith("/api/") or request.path == "/":
            return "ollama"
        if request.header("anthropic-version") is not None or request.path.startswith("/v1/messages"):
            return "anthropic"
        return "openai"

    def _route(self, request: ReceivedRequest, wire: WireName) -> ReplyPlan:
        if wire != "ollama" or request.path != "/":
            self._check_key(request)
        path, method = request.path, request.method
        if wire == "ollama":
            if path == "/api/chat" and method == "POST":
                return self._chat(ollama_ask(parse_body(request.body)))
            plan = self.library.handle(request)
            if plan is not None:
                return plan
        elif wire == "anthropic":
            body = parse_body(request.body) if method == "POST" else None
            version = request.header("anthropic-version")
            if path == "/v1/messages" and method == "POST":
                return self._chat(anthropic_ask(body, version, check_signatures=self.check_signatures))
            if path == "/v1/messages/count_tokens" and method == "POST":
                ask = anthropic_ask({"max_tokens": 1, **(body or {})}, version, check_signatures=self.check_signatures)
                return self._json({"input_tokens": count_tokens(ask)}, wire)
            if path == "/v1/models" and method == "GET":
                return self._json(self._anthropic_models(), wire)
        elif path.endswith("/chat/completions") and method == "POST":
            return self._chat(openai_ask(parse_body(request.body), _deployment(path)))
        elif path.endswith("/models") and method == "GET":
            return self._json(self._openai_models(), wire)
        elif path == "/health" and method == "GET":
            return self._json({"status": "ok"}, wire)
        if wire == "ollama":
            return ReplyPlan(404, (("content-type", "text/plain"),), ((0.0, b"404 page not found"),), "length")
        code = "unknown_url" if wire == "openai" else None
        raise RefusedError(ScriptedError(f"Unknown request URL: {method} {path}.", 404, code=code))

    def _check_key(self, request: ReceivedRequest) -> None:
        if self.api_keys is None:
            return
        bearer = (request.header("authorization") or "").removeprefix("Bearer ")
        given = {bearer, request.header("x-api-key"), request.header("api-key")}
        if not given & self.api_keys:
            raise RefusedError(ScriptedError("Incorrect API key provided.", 401))

    def _chat(self, ask: Ask) -> ReplyPlan:
        self.asks.append(ask)
        if ask.wire == "ollama":
            self.library.require(ask.model)
        elif self.strict_models and ask.model not in self._listed(ask.wire):
            raise RefusedError(
                ScriptedError(f"The model `{ask.model}` does not exist or you do not have access to it.", 404)
            )
        if self._script:
            return self._plan(self._script.popleft(), ask)
        chosen = None if self.reply is None else self.reply(ask)
        if chosen is None:
            self._check_length(ask)
            chosen = answer(ask)
        return self._plan(chosen, ask)

    def _check_length(self, ask: Ask) -> None:
        window, count = self.context_window, count_tokens(ask)
        if window is None or count <= window or ask.wire == "ollama":  # Ollama drops what does not fit, silently
            return
        if ask.wire == "anthropic":
            raise RefusedError(ScriptedError(f"prompt is too long: {count} tokens > {window} maximum", 400))
        message = (
            f"This model's maximum context length is {window} tokens. However, your messages resulted in {count} "
            "tokens. Please reduce the length of the messages."
        )
        raise RefusedError(ScriptedError(message, 400, code="context_length_exceeded", extra={"param": "messages"}))

    def _plan(self, reply: ScriptedReply, ask: Ask) -> ReplyPlan:
        wire = WIRES[ask.wire]
        error = reply.error
        if error is None and not ask.stream:
            error = reply.stream_error
        pieces: list[bytes]
        if reply.body is not None:
            pieces, status, content_type = [reply.body], reply.status, "application/json"
        elif error is not None:
            pieces, status, content_type = [to_json(wire.error(error, self._number))], error.status, "application/json"
        elif ask.stream:
            pieces, status, content_type = list(wire.stream(reply, ask, self._number)), reply.status, wire.content_type
            pieces = list(_with_pings(pieces, wire.ping, reply.pings))
        else:
            pieces, status, content_type = (
                [to_json(wire.plain(reply, ask, self._number))],
                reply.status,
                "application/json",
            )
        headers = [*wire.headers(self._number), *wire.rate_limit(reply.rate_limit), *self.headers, *reply.headers]
        if not any(name.lower() == "content-type" for name, _ in headers):
            headers.insert(0, ("content-type", content_type))
        if reply.retry_after is not None:
            headers.append(("retry-after", f"{reply.retry_after:g}"))
        streamed = ask.stream and error is None and reply.body is None
        framing = reply.framing if reply.framing != "auto" else ("chunked" if streamed else "length")
        return ReplyPlan(
            status=status,
            headers=tuple(headers),
            pieces=tuple((reply.delay if index else reply.first_delay, piece) for index, piece in enumerate(pieces)),
            framing=framing,
            head_delay=reply.head_delay,
            informational=reply.informational,
            surplus=reply.surplus,
            surplus_delay=reply.surplus_delay,
            cut_after=reply.cut_after,
            after_cut=reply.after_cut,
            close=reply.close,
        )

    def _refusal(self, name: WireName, error: ScriptedError, *, close: bool = False) -> ReplyPlan:
        wire = WIRES[name]
        headers = (*_JSON, *wire.headers(self._number), *self.headers)
        body = to_json(wire.error(error, self._number))
        return ReplyPlan(error.status, headers, ((0.0, body),), "length", close=close)

    def _json(self, value: JSON, name: WireName) -> ReplyPlan:
        return ReplyPlan(
            200, (*_JSON, *WIRES[name].headers(self._number), *self.headers), ((0.0, to_json(value)),), "length"
        )

    def _listed(self, wire: WireName) -> Sequence[str]:
        return self.models if self.models is not None else (OPENAI_MODELS if wire == "openai" else ANTHROPIC_MODELS)

    def _openai_models(self) -> JSONObject:
        return {
            "object": "list",
            "data": [
                {"id": name, "object": "model", "created": EPOCH, "owned_by": "test"} for name in self._listed("openai")
            ],
        }

    def _anthropic_models(self) -> JSONObject:
        names = self._listed("anthropic")
        data = [{"type": "model", "id": name, "display_name": name} for name in names]
        first, last = (names[0], names[-1]) if names else (None, None)
        return {"data": data, "has_more": False, "first_id": first, "last_id": last}


def _deployment(path: str) -> str | None:
    """The deployment named in an Azure path `/openai/deployments/{name}/chat/completions`."""
    parts = path.split("/")
    return parts[parts.index("deployments") + 1] if "deployments" in parts else None


def _with_pings(pieces: list[bytes], ping: bytes, count: int) -> Iterator[bytes]:
    for piece in pieces:
        if ping:
            yield from [ping] * count
        yield piece
