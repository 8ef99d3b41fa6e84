"""A test server of all wires, without I/O: requests in, `ReplyPlan`s out.

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
from typing import TYPE_CHECKING, Final

from sans_io.providers.registry import DIALECTS, WIRES
from sans_io.providers.rules import VENDORS

from .answers import answer
from .library import ModelLibrary
from .script import Ask, ReceivedRequest, RefusedError, ReplyPlan, ScriptedError, ScriptedReply
from .served import ServedWire, count_tokens, served, to_json
from .vendors import refuse, shaped

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from sans_io.decode.jsontext import JSON, JSONObject

_JSON: Final = (("content-type", "application/json"),)


class FakeLLMServer:
    """`wire` is the name of one ("openai", "anthropic", "ollama") or "all".

    `vendor`: whose server this is, by the name of a dialect ("mistral"): requests are held to its rules, and refused
    with its status, words and form. None: each wire's own vendor, without what it refuses to single models.

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
        wire: str = "all",
        *,
        vendor: str | None = None,
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
            known = ", ".join(map(repr, WIRES))
            raise ValueError(f"wire must be {known} or 'all', not {wire!r}")
        if vendor is not None and (vendor not in VENDORS or wire not in {"all", DIALECTS[vendor].wires[0]}):
            raise ValueError(f"vendor must be one of {', '.join(VENDORS)} that speaks {wire!r}, not {vendor!r}")
        self.wire = wire
        self.vendor = vendor
        self.api_keys = None if api_keys is None else frozenset(api_keys)
        self.models = None if models is None else tuple(models)
        self.strict_models = strict_models
        self.reply = reply
        self.context_window = context_window
        self.max_body = max_body
        self.check_signatures = check_signatures
        self.headers = tuple(headers)
        self.library = ModelLibrary(served("ollama").models if models is None else models, unpullable)
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

    def listed(self, wire: ServedWire) -> Sequence[str]:
        """The models that this server's list shows on a wire."""
        return wire.models if self.models is None else self.models

    def hold_to_rules(self, wire: ServedWire, body: JSONObject, version: str | None = None) -> None:
        """Raise `RefusedError` for what the vendor of this server would refuse in a chat request."""
        vendor = self._vendor_of(wire)
        if vendor is not None:
            refuse(vendor, body, version, models=self.vendor is not None)

    def _vendor_of(self, wire: ServedWire) -> str | None:
        """Whose server this is on a wire; None if nobody's whose rules are known."""
        if self.vendor is not None and DIALECTS[self.vendor].wires[0] == wire.name:
            return self.vendor
        return next((name for name in VENDORS if DIALECTS[name].wires[0] == wire.name), None)

    def _error(self, error: ScriptedError, wire: ServedWire) -> bytes:
        body: JSON = wire.error(error, self._number)
        vendor = self._vendor_of(wire)
        return to_json(body if vendor is None else shaped(vendor, error.status, body))

    def _wire_of(self, request: ReceivedRequest) -> ServedWire:
        if self.wire != "all":
            return served(self.wire)
        claimed = (wire for wire in map(served, WIRES) if wire.claims(request))
        return next(claimed, served("openai"))

    def _route(self, request: ReceivedRequest, wire: ServedWire) -> ReplyPlan:
        if wire.needs_key(request):
            self._check_key(request)
        ask = wire.ask(request, self)
        if ask is not None:
            return self._chat(ask, wire)
        other = wire.other(request, self)
        if other is None:
            return wire.unknown(request)
        return other if isinstance(other, ReplyPlan) else self._json(other, wire)

    def _check_key(self, request: ReceivedRequest) -> None:
        if self.api_keys is None:
            return
        bearer = (request.header("authorization") or "").removeprefix("Bearer ")
        given = {bearer, request.header("x-api-key"), request.header("api-key")}
        if not given & self.api_keys:
            raise RefusedError(ScriptedError("Incorrect API key provided.", 401))

    def _chat(self, ask: Ask, wire: ServedWire) -> ReplyPlan:
        self.asks.append(ask)
        wire.require(ask.model, self)
        if self._script:
            return self._plan(self._script.popleft(), ask, wire)
        chosen = None if self.reply is None else self.reply(ask)
        if chosen is None:
            self._check_length(ask, wire)
            chosen = answer(ask)
        return self._plan(chosen, ask, wire)

    def _check_length(self, ask: Ask, wire: ServedWire) -> None:
        window, count = self.context_window, count_tokens(ask)
        if window is not None and count > window:
            refusal = wire.overflow(count, window)
            if refusal is not None:
                raise RefusedError(refusal)

    def _plan(self, reply: ScriptedReply, ask: Ask, wire: ServedWire) -> ReplyPlan:
        error = reply.error
        if error is None and not ask.stream:
            error = reply.stream_error
        pieces: list[bytes]
        if reply.body is not None:
            pieces, status, content_type = [reply.body], reply.status, "application/json"
        elif error is not None:
            pieces, status, content_type = [self._error(error, wire)], error.status, "application/json"
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

    def _refusal(self, wire: ServedWire, error: ScriptedError, *, close: bool = False) -> ReplyPlan:
        headers = (*_JSON, *wire.headers(self._number), *self.headers)
        return ReplyPlan(error.status, headers, ((0.0, self._error(error, wire)),), "length", close=close)

    def _json(self, value: JSON, wire: ServedWire) -> ReplyPlan:
        return ReplyPlan(200, (*_JSON, *wire.headers(self._number), *self.headers), ((0.0, to_json(value)),), "length")


def _with_pings(pieces: list[bytes], ping: bytes, count: int) -> Iterator[bytes]:
    for piece in pieces:
        if ping:
            yield from [ping] * count
        yield piece
