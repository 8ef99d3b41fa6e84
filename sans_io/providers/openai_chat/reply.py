"""The readers of OpenAI's wire: event streams, whole JSON replies, lists of models.

    bytes ──SSEJSONDecoder──> (name, chunk) ──fast path or ChunkInterpreter──> events

Rules of this file:
- A stream is complete at `[DONE]`, or if its body ends with a finish reason on every choice seen; else it was cut.
- The fast paths take the one chunk and the one whole reply that nearly all are, a single choice with nothing but text,
  and must give exactly what the interpreter gives (differential tests hold this).
- What follows `[DONE]` is not read; errors are sticky; events before an error are returned (R5, R6).
"""

from __future__ import annotations

from typing import Final

from ...chat.assembly import response_of
from ...chat.events import Event, TextDelta
from ...chat.response import ChatResponse, Choice, Usage
from ...chat.shapes import AssistantMessage
from ...decode.jsontext import JSON, JSONObject
from ...decode.sse_json import DONE, SSEJSONDecoder
from ...errors import LLMError, LLMStreamError
from ...limits import DEFAULT_LIMITS, Limits
from ..failures import DEFAULT_RULES, FailureRules
from ..json_replies import ModelsReader, WholeReader
from ..merging import copied
from ..stream_readers import LONG, StreamReader
from .answer import usage_of
from .chunks import FINISH_REASONS, ChunkInterpreter, reported_error


class OpenAIStreamReader(StreamReader):
    """Reads one streamed reply (`ReplyReader`). `expected` is the number of choices asked for; `single` says that it
    was one, so that every choice is that one (None: nobody knows). `thinks_apart`: see `usage_of`.
    """

    __slots__ = ("_chunks", "_decoder", "_delta", "_ended", "_expected", "_pieces")

    def __init__(
        self,
        provider: str,
        model: str | None = None,
        rules: FailureRules = DEFAULT_RULES,
        limits: Limits = DEFAULT_LIMITS,
        expected: int = 1,
        *,
        single: bool | None = False,
        thinks_apart: bool = False,
    ) -> None:
        super().__init__()
        self._chunks = ChunkInterpreter(provider, model, rules, limits, single=single, thinks_apart=thinks_apart)
        self._decoder = SSEJSONDecoder(limits)
        self._expected = expected
        self._ended = False
        #: The delta of the last chunk, where that was nothing but text: the fast path is for chunks that are equal but
        #: for this text. And where the text goes.
        self._delta: JSONObject | None = None
        self._pieces: list[str] = []

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def complete(self) -> bool:
        return self._ended or (self.error is None and self._chunks.all_finished)

    @property
    def counts_up(self) -> bool:
        """Whether each chunk so far had the next index; told only where nobody knows what was asked for."""
        return self._chunks.counted > 1

    @property
    def finishing(self) -> bool:
        return self._chunks.all_finished and len(self._chunks.finished) >= self._expected

    @property
    def keepalives(self) -> int:
        return self._decoder.keepalives + self._silent

    def receive_data(self, data: bytes) -> list[Event]:
        """Body bytes, cut anywhere. Check `error` and `ended` afterwards."""
        events: list[Event] = []
        if self._ended or self.error is not None:
            return events
        if len(data) > LONG and not self._cutting:
            return self._receive_long(data, self._decoder, self._chunks.assembler.tally)
        chunks = self._chunks
        for name, chunk in self._decoder.receive_data(data):
            delta = self._delta
            if delta is not None:
                try:
                    text = chunk["choices"][0]["delta"]["content"]
                except (KeyError, IndexError, TypeError):
                    text = None
                if type(text) is str:
                    delta["content"] = text
                    last = chunks.last
                    for key in chunks.varying:
                        last[key] = chunk.get(key)
                    if chunk == last:
                        if not text.isascii():
                            self._text(text, events)
                        elif text:
                            self.content_events += 1
                            self._pieces.append(text)
                            events.append(TextDelta(text))
                        else:
                            self._silent += 1
                        continue
            if chunk is DONE:
                self._end(events)
                return events
            if not self._interpret(name, chunk, events):
                return events
        if self._decoder.error is not None:
            self._fail(self._decoder.error)
        return events

    def receive_eof(self) -> list[Event]:
        """The body ended in order: complete, or `error` says that it was cut."""
        events: list[Event] = []
        if self._ended or self.error is not None:
            return events
        self._decoder.receive_eof()
        unfinished = self._decoder.unfinished
        if unfinished is not None:
            name, chunk = unfinished
            if chunk is DONE:
                self._end(events)
                return events
            # Without its blank line an event may end a stream, never add to the answer.
            if not _adds_to_the_answer(chunk) and not self._interpret(name, chunk, events):
                return events
        if self._chunks.all_finished:
            self._end(events)
        else:
            self._fail(self._truncated())
        return events

    def response(self) -> ChatResponse:
        """What has arrived so far; the whole reply once `ended`."""
        return self._chunks.response()

    def _interpret(self, name: str, chunk: JSON, events: list[Event]) -> bool:
        """One chunk; whether the reading may go on."""
        chunks = self._chunks
        said = chunks.chunk(name, chunk)
        self._took(said, chunks.assembler.tally)
        events += said
        if chunks.error is not None:
            self._fail(chunks.error)
            return False
        self._delta = None
        answer = chunks.answers.get(0)
        if answer is not None and not answer.text_joiner.waiting and chunks.counted < 0:
            self._delta = _delta_of_text(chunk)
            self._pieces = answer.choice.text
        return True

    def _text(self, text: str, events: list[Event]) -> None:
        """Text of choice 0 that may end in half a character; then the interpreter waits for the other half."""
        answer = self._chunks.answers[0]
        said: list[Event] = []
        self._chunks.text(answer, 0, text, said)
        self._took(said, self._chunks.assembler.tally)
        events += said
        if answer.text_joiner.waiting:
            self._delta = None

    def _end(self, events: list[Event]) -> None:
        events += self._chunks.finish()
        self._ended = True

    def _stopped(self) -> bool:
        return self._ended or self.error is not None

    def _truncated(self) -> LLMStreamError:
        lacks = "[DONE] and a finish_reason on every choice" if self.content_events + self._silent else "a single event"
        return LLMStreamError(f"{self._chunks.provider} ended the stream without {lacks}", code="truncated")

    def _fail(self, error: LLMError) -> None:
        error.provider = error.provider or self._chunks.provider
        error.model = error.model or self._chunks.model
        self.error = error
        error.partial = self.response()


def _delta_of_text(chunk: JSON) -> JSONObject | None:
    """The delta of a chunk that holds one choice, number 0, with nothing but text."""
    choices = chunk.get("choices") if isinstance(chunk, dict) else None
    choice = choices[0] if isinstance(choices, list) and len(choices) == 1 else None
    # Beside its index and delta such a choice says nothing: every other value is null.
    if not isinstance(choice, dict) or choice.get("index") != 0 or _said(choice) != 2:
        return None
    delta = choice.get("delta")
    if not isinstance(delta, dict) or not isinstance(delta.get("content"), str):
        return None
    return delta if _said(delta) - (delta.get("role") is not None) == 1 else None


def _said(value: JSONObject) -> int:
    """How many of its keys are not null."""
    return len(value) - list(value.values()).count(None)


def _adds_to_the_answer(chunk: JSON) -> bool:
    """Whether a chunk holds text or tool calls."""
    choices = chunk.get("choices") if isinstance(chunk, dict) else None
    if not isinstance(choices, list):
        return not isinstance(chunk, dict) and reported_error(chunk) is None
    for choice in choices:
        if not isinstance(choice, dict):
            return choice is not None
        for delta in (choice.get("delta"), choice.get("message")):
            if delta and (not isinstance(delta, dict) or any(delta[key] for key in delta if key != "role")):
                return True
    return False


class OpenAIBodyReader(WholeReader):
    """Reads one whole reply (`ReplyReader`)."""

    def __init__(
        self,
        provider: str,
        model: str | None = None,
        rules: FailureRules = DEFAULT_RULES,
        limits: Limits = DEFAULT_LIMITS,
        *,
        single: bool | None = False,
        thinks_apart: bool = False,
    ) -> None:
        super().__init__(provider, model, limits)
        self._rules = rules
        self.may_lack_v1 = rules.may_lack_v1
        self._single = single
        self._thinks_apart = thinks_apart
        self._chunks: ChunkInterpreter | None = None
        #: Of a plain answer: its text, and why it ended.
        self._plain: tuple[str, str] | None = None
        self._raw: JSONObject = {}
        self._handed_out = False

    def read(self, value: JSONObject) -> None:
        self._raw = value
        self._plain = _plain_answer(value)
        if self._plain is not None:
            return
        chunks = self._interpreter()
        chunks.body(value)
        error = chunks.error
        if error is None:
            chunks.finish()
        else:
            if chunks.answers:
                error.partial = self.response()
            self.fail(error)

    def response(self) -> ChatResponse:
        raw = copied(self._raw) if self._handed_out else self._raw
        self._handed_out = True
        if self._plain is None:
            return self._interpreter().response(raw)
        text, finish = self._plain
        message: AssistantMessage = {"role": "assistant", "content": text}
        reason = FINISH_REASONS.get(finish.lower(), "other")
        model, usage = raw.get("model"), raw.get("usage")
        return response_of(
            (Choice(0, text, reason, finish, [], [], None, None, message),),
            model if isinstance(model, str) else "",
            usage_of(usage, self._thinks_apart) if isinstance(usage, dict) else Usage(),
            raw,
        )

    def _interpreter(self) -> ChunkInterpreter:
        if self._chunks is None:
            self._chunks = ChunkInterpreter(
                self.provider,
                self.model,
                self._rules,
                self.limits,
                single=self._single,
                thinks_apart=self._thinks_apart,
            )
        return self._chunks


#: What a message says in a plain answer; any other key may be null or an empty list.
_PLAIN_KEYS: Final = frozenset({"role", "content"})


def _plain_answer(body: JSONObject) -> tuple[str, str] | None:
    """Text and finish reason of a reply with one choice that is nothing but text; None for any other reply.

    Most replies are such. Reading them here costs 25 k instructions of the interpreter's 150 k, which must say the same
    (a differential test holds this). The decoder has repaired what could not be encoded.
    """
    choices = body.get("choices")
    if type(choices) is not list or len(choices) != 1 or body.get("error") or body.get("x_groq") is not None:
        return None
    choice = choices[0]
    if type(choice) is not dict or choice.get("index") or choice.get("error") or choice.get("usage") is not None:
        return None
    if choice.get("logprobs") is not None:
        return None
    message, finish = choice.get("message"), choice.get("finish_reason")
    if type(message) is not dict or type(finish) is not str or not finish:
        return None
    text = message.get("content")
    if type(text) is not str:
        return None
    for key, value in message.items():
        if value is not None and value != [] and key not in _PLAIN_KEYS:
            return None
    return text, finish


class OpenAIModelsReader(ModelsReader):
    """The reader of `GET /models`."""

    def read(self, value: JSONObject) -> None:
        self._raw = value
        error = reported_error(value)
        entries = value.get("data", value.get("models"))
        if error is not None and not isinstance(entries, list):
            self.reported(error)
        elif not isinstance(entries, list):
            self.unexpected(value)
        else:
            self._take(entries)

    def unexpected(self, value: JSON) -> None:
        if isinstance(value, list):  # Together sends the bare list.
            self._take(value)
        else:
            super().unexpected(value)

    def _take(self, entries: list[JSON]) -> None:
        for entry in entries:
            name = entry
            if isinstance(entry, dict):
                name = next((entry[key] for key in ("id", "name", "model") if isinstance(entry.get(key), str)), None)
            if isinstance(name, str) and name:
                self.models.append(name)
