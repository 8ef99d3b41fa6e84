"""Ollama's replies: whole ones, NDJSON streams, model lists and downloads in, events and `ChatResponse` out.

Rules of this file:
- A stream ends with a line that says `"done": true`; one that ends without it was cut.
- An error may come as a line of a 200 stream: `{"error": "text"}`.
- Tool calls come whole, on any line. Where the server gives no id, one is made up that no earlier call has.
- `done_reason` is "stop" after tool calls as well; counters that are 0 are left out by the server.
- `raw` of a stream is its last line with the whole message in it, the shape of a reply without `stream`.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from typing import Final

from ...chat.assembly import ChoiceAssembler, ReplyAssembler
from ...chat.content import Tally
from ...chat.events import Event, PullProgress, ReasoningDelta, TextDelta, UsageReported
from ...chat.response import ChatResponse, Usage
from ...chat.shapes import FinishReason
from ...chat.tool_calls import name_and_arguments
from ...decode import jsontext
from ...decode.jsontext import JSON, JSONObject, SurrogateJoiner
from ...decode.ndjson import NDJSONDecoder
from ...errors import LLMError, LLMNotFoundError, LLMServerError, LLMStreamError
from ...limits import DEFAULT_LIMITS, Limits
from ..error_words import prose
from ..failures import FailureRules, failure_from_event
from ..json_replies import ModelsReader, RawReader, WholeReader, count, token_logprobs
from ..stream_readers import LONG, StreamReader

PROVIDER: Final = "ollama"

#: `done_reason` -> the common finish reason; missing or empty it is "stop", anything else is "other".
FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "": "stop",
    "length": "length",
    "load": "other",
    "unload": "other",
}

#: Steps of a download that are remembered: more than any model has layers.
_MAX_STEPS: Final = 1024

RULES: Final = FailureRules(not_found="is the model there? ensure_model({model}) or `ollama pull {model}` fetches it")
_NOT_THERE: Final = re.compile(r"file does not exist|manifest unknown|\bmodel\b.*\bnot found\b", re.IGNORECASE)


def reported_error(value: JSON, model: str | None) -> LLMError:
    """The typed error of an `{"error": ...}` in a 2xx reply; `value` is the whole line or document."""
    error = failure_from_event(PROVIDER, value, model=model, rules=RULES)
    if isinstance(error, LLMServerError) and error.code is None:
        if _NOT_THERE.search(prose(error.message)):
            return LLMNotFoundError(
                error.message, code="model_not_found", provider=PROVIDER, model=model, body=error.body
            )
        # The wire has no codes; what breaks in the middle of an answer is the server's runner.
        error.code = "server_error"
    return error


class WholeChatReader(WholeReader):
    """The reader of `POST /api/chat` (or `/api/generate`) with `"stream": false`."""

    def __init__(
        self, model: str | None = None, taken: frozenset[str] = frozenset(), limits: Limits = DEFAULT_LIMITS
    ) -> None:
        super().__init__(PROVIDER, model, limits)
        self._answer = _Answer(taken, limits)
        self._raw: JSONObject = {}

    def read(self, value: JSONObject) -> None:
        if value.get("error"):
            self.reported(value)
        elif not isinstance(value.get("message"), dict) and not isinstance(value.get("response"), str):
            self.unexpected(value)
        else:
            self._raw = value
            self._answer.add(value)
            self._answer.finish(value)
            if self._answer.reply.error is not None:
                self.fail(self._answer.reply.error)

    def reported(self, value: JSON) -> None:
        self.fail(reported_error(value, self.model))

    def response(self) -> ChatResponse:
        return self._answer.response(self._raw)


class LineReader(StreamReader):
    """Base of the readers of NDJSON replies; see `ReplyReader` for the attributes."""

    finishing = False

    def __init__(self, model: str | None, tally: Tally, limits: Limits) -> None:
        super().__init__()
        self._decoder = NDJSONDecoder(limits)
        self._model = model
        self._tally = tally
        self.ended = False

    @property
    def complete(self) -> bool:
        """Only the last line makes a stream whole."""
        return self.ended

    @property
    def keepalives(self) -> int:
        return self._decoder.blanks + self._silent

    def receive_data(self, data: bytes) -> list[Event]:
        """Body bytes, cut anywhere. Check `error` and `ended` afterwards."""
        if self._stopped():
            return []
        if len(data) > LONG and not self._cutting:
            return self._receive_long(data, self._decoder, self._tally)
        events = self._lines(self._decoder.receive_data(data))
        if self._decoder.error is not None and not self._stopped():
            self._fail(self._decoder.error)
        return events

    def receive_eof(self) -> list[Event]:
        """The body ended in order. Without its last line the stream was cut."""
        if self._stopped():
            return []
        events = self._lines(self._decoder.receive_eof())
        if not self._stopped():
            self._fail(self._decoder.error or LLMStreamError(self._cut(), code="truncated"))
        return events

    @abstractmethod
    def response(self) -> ChatResponse:
        """What has arrived so far, whole or partial."""

    def _lines(self, values: list[JSON]) -> list[Event]:
        events: list[Event] = []
        for value in values:
            said: list[Event] = []
            if isinstance(value, dict):
                if value.get("error"):
                    self._fail(reported_error(value, self._model))
                else:
                    said = self._line(value)
            self._took(said, self._tally)
            events += said
            if self._stopped():
                break
        return events

    @abstractmethod
    def _line(self, value: JSONObject) -> list[Event]:
        """One line that is no error."""

    def _cut(self) -> str:
        return "the stream was cut: it ended without a line that says it is done"

    def _stopped(self) -> bool:
        return self.ended or self.error is not None

    def _fail(self, error: LLMError) -> None:
        error.provider = error.provider or PROVIDER
        error.model = error.model or self._model
        error.partial = self.response()
        self.error = error


class ChatStreamReader(LineReader):
    """The reader of `POST /api/chat` (or `/api/generate`) with `"stream": true`."""

    def __init__(
        self, model: str | None = None, taken: frozenset[str] = frozenset(), limits: Limits = DEFAULT_LIMITS
    ) -> None:
        self._answer = _Answer(taken, limits)
        super().__init__(model, self._answer.reply.tally, limits)

    def response(self) -> ChatResponse:
        return self._answer.response(self._answer.raw())

    def _lines(self, values: list[JSON]) -> list[Event]:
        answer = self._answer
        events: list[Event] = []
        for i, value in enumerate(values):
            # Nearly every line of nearly every stream: model, time, not done, and a role with a piece of text. The
            # first one goes the long way, which notes the model.
            if type(value) is dict and len(value) == 4 and value.get("done") is False and "created_at" in value:
                message = value.get("message")
                if answer.began and type(message) is dict and len(message) == 2 and "model" in value:
                    text = message.get("content")
                    if type(text) is str and "role" in message:
                        text = answer.joiner.join(text)
                        if text:
                            self.content_events += 1
                            answer.choice.text.append(text)
                            events.append(TextDelta(text))
                        else:
                            self._silent += 1
                        continue
            events += super()._lines(values[i : i + 1])
            if self._stopped():
                break
        return events

    def _line(self, value: JSONObject) -> list[Event]:
        events = self._answer.add(value)
        if value.get("done") is True:
            events += self._answer.finish(value)
            self.ended = self._answer.reply.error is None
        if self._answer.reply.error is not None:
            self._fail(self._answer.reply.error)
        return events


class PullReader(LineReader):
    """The reader of `POST /api/pull`: a `PullProgress` for each line that says something new of its step; whole only if
    the last status is "success".
    """

    def __init__(self, model: str, limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__(model, Tally(), limits)
        self._raw: JSONObject = {}
        #: Of each step, its status and layer: how far it was. Servers repeat where it stands many times a second.
        self._steps: dict[tuple[str, str | None], tuple[int | None, int | None]] = {}

    def response(self) -> ChatResponse:
        """No chat: `raw` is the last line."""
        return ChatResponse(model=self._model or "", raw=self._raw)

    def _line(self, value: JSONObject) -> list[Event]:
        status = value.get("status")
        if not isinstance(status, str):
            return []
        self._raw = value
        self.ended = status == "success"
        digest = value.get("digest")
        shown = jsontext.well_formed(digest) if isinstance(digest, str) and digest else None
        total, completed = count(value.get("total")), count(value.get("completed"))
        step = (status, shown)
        if self._steps.get(step) == (total, completed):
            return []
        if len(self._steps) == _MAX_STEPS:
            self._steps.clear()
        self._steps[step] = (total, completed)
        return [PullProgress(jsontext.well_formed(status), shown, total, completed)]

    def _cut(self) -> str:
        return f"the download ended without success (last status: {str(self._raw.get('status', 'none'))[:100]!r})"


class OllamaModelsReader(ModelsReader):
    """The reader of `GET /api/tags`."""

    def read(self, value: JSONObject) -> None:
        models = value.get("models")
        if models is None and "models" in value:
            models = []  # Go writes an empty list as null.
        if not isinstance(models, list):
            (self.reported if value.get("error") else self.unexpected)(value)
            return
        self._raw = value
        names = [item.get("name") or item.get("model") for item in models if isinstance(item, dict)]
        self.models = [name for name in names if isinstance(name, str) and name]


class VersionReader(RawReader):
    """The reader of `GET /api/version`: `version` as the server says it."""

    version = ""

    def read(self, value: JSONObject) -> None:
        version = value.get("version")
        if not isinstance(version, str):
            (self.reported if value.get("error") else self.unexpected)(value)
            return
        self._raw = value
        self.version = version


class _Answer:
    """One answer in the making, from either form of the reply, of `/api/chat` or `/api/generate`."""

    def __init__(self, taken: frozenset[str], limits: Limits) -> None:
        self.reply = ReplyAssembler(limits, compact_arguments=True)
        self.tally = self.reply.tally
        self.choice = self.reply.choices[0] = ChoiceAssembler(0, limits, compact_arguments=True, tally=self.tally)
        self.joiner = SurrogateJoiner()
        self.began = False
        self._thinking = SurrogateJoiner()
        self._head: JSONObject = {}
        self._message: JSONObject = {}
        self._calls: list[JSON] = []
        self._log_probabilities: list[JSON] = []
        self._taken = set(taken)

    def add(self, value: JSONObject) -> list[Event]:
        """One line, or the whole reply."""
        self.began = True
        self._head.update(value)
        model = value.get("model")
        if isinstance(model, str) and model and not self.reply.model:
            self.reply.model = jsontext.well_formed(model)
        if isinstance(value.get("logprobs"), list) and value["logprobs"]:
            self.tally.beside += 1
            self._log_probabilities += value["logprobs"]
        message = value.get("message")
        if not isinstance(message, dict):
            # /api/generate has the same pieces without a message around them.
            message = {"content": value.get("response"), "thinking": value.get("thinking")}
        else:
            if message.get("images") and message["images"] != self._message.get("images"):
                self.tally.take(message["images"])
            self._message.update(message)
        events: list[Event] = []
        thinking = message.get("thinking")
        if isinstance(thinking, str) and thinking:
            events += self._add_thinking(self._thinking.join(thinking))
        text = message.get("content")
        if isinstance(text, str) and text:
            events += self._add_text(self.joiner.join(text))
        calls = message.get("tool_calls")
        for call in calls if isinstance(calls, list) else (calls,):
            if isinstance(call, dict):
                events += self._add_call(call)
        return events

    def finish(self, value: JSONObject) -> list[Event]:
        """The answer ended in order, unless a cap was exceeded; `value` is the line that said so."""
        if self.reply.error is not None:
            return []
        events = self._add_thinking(self._thinking.flush()) + self._add_text(self.joiner.flush())
        reason = value.get("done_reason")
        if isinstance(reason, str) and reason:
            self.choice.raw_finish_reason = jsontext.well_formed(reason)
            self.choice.finish_reason = FINISH_REASONS.get(reason, "other")
        else:
            self.choice.finish_reason = "stop"
        usage = Usage(count(value.get("prompt_eval_count")), count(value.get("eval_count")))
        if usage.input_tokens is not None or usage.output_tokens is not None:
            self.reply.usage = usage
            events.append(UsageReported(usage))
        if self.choice.reasoning:
            self.choice.extras = {"thinking": "".join(self.choice.reasoning)}
        return events + self.reply.finish()

    def response(self, raw: JSONObject) -> ChatResponse:
        """What has arrived so far."""
        if self._log_probabilities:
            self.choice.logprobs = token_logprobs(self._log_probabilities)
        return self.reply.response(raw)

    def raw(self) -> JSONObject:
        """The reply as it is without `stream`; fresh objects."""
        raw = dict(self._head)
        text, thinking = "".join(self.choice.text), "".join(self.choice.reasoning)
        if "response" in raw and "message" not in raw:
            raw["response"] = text
            if thinking:
                raw["thinking"] = thinking
        elif raw:
            raw["message"] = {**self._message, "content": text}
            if thinking:
                raw["message"]["thinking"] = thinking
            if self._calls:
                raw["message"]["tool_calls"] = self._calls
        if self._log_probabilities:
            raw["logprobs"] = self._log_probabilities
        copied: JSONObject = jsontext.well_formed_tree(raw)
        return copied

    def _add_text(self, text: str) -> list[Event]:
        if not text:
            return []
        self.choice.text.append(text)
        return [TextDelta(text)]

    def _add_thinking(self, text: str) -> list[Event]:
        if not text:
            return []
        self.choice.reasoning.append(text)
        return [ReasoningDelta(text)]

    def _add_call(self, call: JSONObject) -> list[Event]:
        function = call.get("function")
        name, arguments = name_and_arguments(call, function if isinstance(function, dict) else call)
        number = len(self._calls)
        self.tally.beside += 1
        self._calls.append(call)
        label = call.get("id")
        if not isinstance(label, str) or not label or label in self._taken:
            label = self._made_up()
        self._taken.add(label)
        return self.choice.tools.fragment(index=number, id=label, name=name, arguments=arguments, apart=True)

    def _made_up(self) -> str:
        """An id for a call that has none, unlike any in the conversation: results are matched by it."""
        number = len(self._taken)
        while f"call_{number}" in self._taken:
            number += 1
        return f"call_{number}"
