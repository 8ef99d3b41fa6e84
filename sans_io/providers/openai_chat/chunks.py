"""What one chunk or one body of OpenAI's wire means, in every dialect that was seen (docs/wires.md).

    chunk ──choices──> delta or message ──> text, reasoning, refusal, tool fragments, keys to keep
          ├─usage, x_groq.usage
          └─error, x_groq.error ──> typed error

Rules of this file:
- Any JSON type may stand in any place. What carries the answer (choices, delta, content, tool_calls) and is of the
  wrong type is an error that stays; what only describes it (counts, names) is passed over.
- A whole message is read as one delta, so that `chat()` and a drained stream cannot differ.
- An error may come inside a 2xx reply: beside `choices` only as `error`, without them in any of the flat shapes. A key
  that is there but empty (`"error": null`) is no error.
- Keys nobody here knows are kept: on the message to be sent back, elsewhere for `raw`. What is empty never takes the
  place of what is not.
- Where one answer was asked for, every choice is that one, whatever its index: some count up with each chunk.
- The deprecated `function_call` is a tool call.
"""

from __future__ import annotations

from typing import Final

from ...chat.assembly import ReplyAssembler
from ...chat.events import Event, ReasoningDelta, RefusalDelta, TextDelta, UsageReported
from ...chat.response import ChatResponse, Usage
from ...chat.shapes import FinishReason
from ...chat.tool_calls import name_and_arguments
from ...decode import jsontext
from ...decode.jsontext import JSON, JSONObject
from ...errors import LLMError, LLMProtocolError
from ...limits import DEFAULT_LIMITS, Limits
from ..failures import DEFAULT_RULES, FailureRules, failure_from_event
from ..merging import copied
from .answer import (
    Answer,
    call_extras,
    counts_nothing,
    details_text,
    extras_of,
    is_nothing,
    is_shell,
    logprobs_of,
    merged_usage,
    raw_choice,
    thinking_text,
    usage_of,
)

#: What a choice may say at its end, in our words. Anything else is "other".
FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "stop": "stop", "eos": "stop", "end_turn": "stop", "stop_sequence": "stop", "eos_token": "stop",
    "length": "length", "model_length": "length", "max_tokens": "length", "max_output_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_calls": "tool_calls", "function_call": "tool_calls", "tool_use": "tool_calls",
    "content_filter": "content_filter", "safety": "content_filter", "refusal": "content_filter",
    "error": "error",
}  # fmt: skip

_DELTA_KEYS: Final = frozenset({"role", "content", "tool_calls", "refusal"})
_CHOICE_KEYS: Final = frozenset({"index", "delta", "message", "finish_reason", "error", "usage"})
#: Padding against traffic analysis: of no meaning, different in every chunk.
_NOISE: Final = frozenset({"obfuscation", "p"})
#: Keys whose first value counts: gateways begin with empty ones and repeat them.
_FIRST: Final = frozenset({"id", "created", "model"})
#: Keys of a delta that are content. Pieces of something longer, so that equal ones may follow each other ...
_CONTENT_PIECES: Final = frozenset({"audio", "reasoning", "reasoning_content", "reasoning_details", "thinking"})
#: ... and what is whole each time, so that the same again is a repetition.
_CONTENT_WHOLES: Final = frozenset(
    {"annotations", "extra_content", "image", "images", "signature", "thinking_blocks", "thought_signature", "video"}
)  # fmt: skip
#: Lists that a choice sends in pieces beside its delta.
_GROWING: Final = frozenset({"logprobs", "token_ids"})
_NO_USAGE: Final = Usage()


class ChunkInterpreter:
    """Chunks in, events out: `chunk()` for each or `body()` once, then `finish()`. `error` stays once it is set."""

    __slots__ = (
        "_single",
        "_thinks_apart",
        "_top",
        "answers",
        "assembler",
        "counted",
        "error",
        "finished",
        "last",
        "model",
        "provider",
        "rules",
        "varying",
    )

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
        """`single`: one answer was asked for; None where nobody knows. `thinks_apart`: see `usage_of`."""
        self.provider = provider
        self.model = model
        self.rules = rules
        self.assembler = ReplyAssembler(limits)
        self.answers: dict[int, Answer] = {}
        #: Indexes of the choices that gave a finish reason.
        self.finished: set[int] = set()
        #: The reply's own keys, as they will stand in `raw`.
        self._top: JSONObject = {}
        #: The last chunk that was kept, and which of its keys differ from chunk to chunk without being news. Whoever
        #: compares another one with it first takes over that one's choices and what these keys say there.
        self.last: JSONObject = {}
        self.varying: tuple[str, ...] = ()
        self._single = single
        #: How many chunks came whose index was their number (the last one's may be 0), where nobody knows what was
        #: asked for; -1 once one's was not.
        self.counted = 0 if single is None else -1
        self._thinks_apart = thinks_apart
        self.error: LLMError | None = None

    @property
    def all_finished(self) -> bool:
        """Whether a finish reason was seen on every choice seen, and there was one."""
        return bool(self.finished) and len(self.finished) == len(self.answers)

    # -- inputs -----------------------------------------------------------------------------------------------------

    def chunk(self, name: str, chunk: JSON) -> list[Event]:
        """The payload of one event. Look at `error` afterwards; the events before it count."""
        events: list[Event] = []
        if not isinstance(chunk, dict):
            error = reported_error(chunk)
            if error is None:
                self._refuse("an event that is not a JSON object")
        else:
            error = reported_error(chunk)
            choices = chunk.get("choices")
            # What the server says is wrong says more than what is wrong with the chunk that says it.
            if isinstance(choices, list) or (choices is not None and error is None):
                self._choices(choices, events, whole=False)
            if self.brings_news(chunk):
                self._count_all(chunk)
                self._keep(chunk)
            if error is None and name == "error" and choices is None:
                error = chunk or {"error": "the server sent an error event without saying what it was"}
        if error is not None:
            self._fail(failure_from_event(self.provider, error, model=self.model, rules=self.rules))
        return events

    def body(self, body: JSONObject) -> None:
        """A whole reply (`chat.completion`). Look at `error`, then call `finish()`."""
        choices = body.get("choices")
        error = reported_error(body)
        if isinstance(choices, list) or (choices is not None and error is None):
            self._choices(choices, [], whole=True)
            self._count_all(body)
        elif error is None:
            self._refuse("JSON without choices", "no_choices")
        if error is not None:
            self._fail(failure_from_event(self.provider, error, model=self.model, rules=self.rules))

    def finish(self) -> list[Event]:
        """The reply ended in order: what was held back, usage, every tool call completed, `Finished`."""
        events: list[Event] = []
        for index in sorted(self.answers):
            answer = self.answers[index]
            if answer.ends_unnamed and answer.choice.raw_finish_reason is None:
                answer.choice.raw_finish_reason, answer.choice.finish_reason = "", "stop"
            for joiner, pieces, event in (
                (answer.reasoning_joiner, answer.choice.reasoning, ReasoningDelta),
                (answer.text_joiner, answer.choice.text, TextDelta),
                (answer.refusal_joiner, answer.choice.refusal, RefusalDelta),
            ):
                tail = joiner.flush()
                if tail:
                    pieces.append(tail)
                    events.append(event(tail, index))
            for place, (name, texts) in answer.custom.items():
                text = jsontext.well_formed("".join(texts))
                kept = {"type": "custom", "custom": {"name": name, "input": text}}
                events += answer.choice.tools.fragment(index=place, arguments={"input": text}, extras=kept)
        if self.assembler.usage != _NO_USAGE:
            events.append(UsageReported(self.assembler.usage))
        return events + self.assembler.finish()

    # -- what came so far -------------------------------------------------------------------------------------------

    def response(self, raw: JSONObject | None = None) -> ChatResponse:
        """What has arrived so far; `raw` is the reply as received, else one is made in the whole reply's shape."""
        for answer in self.answers.values():
            answer.choice.extras = extras_of(answer)
            if answer.logs:
                answer.choice.logprobs = logprobs_of(answer)
        response = self.assembler.response({} if raw is None else raw)
        if raw is None:
            # Where Ctrl-C came between the making of a choice and of its answer, there is nothing to show yet.
            answers = self.answers
            made = [raw_choice(answers[choice.index], choice) for choice in response.choices if choice.index in answers]
            response.raw = {**copied(self._top), "object": "chat.completion", "choices": made}
        return response

    # -- one chunk --------------------------------------------------------------------------------------------------

    def _choices(self, choices: JSON, events: list[Event], *, whole: bool) -> None:
        if not isinstance(choices, list):
            self._refuse("choices that are not a list")
            return
        for position, choice in enumerate(choices):
            if isinstance(choice, dict):
                self._choice(choice, position, events, whole)
            elif choice is not None:
                self._refuse("a choice that is not an object")
            if self.error is not None:
                return

    def _choice(self, choice: JSONObject, position: int, events: list[Event], whole: bool) -> None:
        index = self._place(choice, position, whole)
        delta = choice.get("message" if whole else "delta")
        if delta is None:
            # Some send whole messages in a stream. Beside deltas they repeat what came before.
            delta = choice.get("delta") if whole else (choice.get("message") if index not in self.answers else None)
        finish = choice.get("finish_reason")
        # Azure's filter sends choices without a delta, which are no answer.
        if delta is not None or finish is not None or whole or index in self.answers:
            answer = self._answer(index)
            if answer is None:
                self._refuse("a choice whose index is negative or too large")
                return
            if isinstance(delta, dict):
                self._delta(answer, index, delta, events, whole)
            elif delta is not None:
                self._refuse("a message that is not an object")
            self._describe_choice(answer, choice)
            if isinstance(finish, str):
                self._finished(answer, index, finish)
        error = choice.get("error")
        if error and self.error is None:  # OpenRouter, where the upstream failed in the middle.
            self._fail(failure_from_event(self.provider, {"error": error}, model=self.model, rules=self.rules))

    def _place(self, choice: JSONObject, position: int, whole: bool) -> int:
        """Which answer this is a part of."""
        if self._single:
            return 0
        index = choice.get("index")
        if type(index) is not int:
            index = position if whole else 0
        if whole:
            while index in self.answers:
                index += 1  # A whole reply holds each answer once, whatever the servers number them.
        elif self.counted >= 0:
            ends = index == 0 and self.counted > 2 and bool(choice.get("finish_reason"))
            counts_on = (index == self.counted or ends) and not position and not self.finished
            self.counted = self.counted + 1 if counts_on else -1
        return index

    def _answer(self, index: int) -> Answer | None:
        answer = self.answers.get(index)
        if answer is None:
            choice = self.assembler.choice(index)
            if choice is not None:
                answer = self.answers[index] = Answer(choice)
        return answer

    def _finished(self, answer: Answer, index: int, finish: str) -> None:
        choice = answer.choice
        if not finish:
            answer.ends_unnamed = True
            return
        if index not in self.finished:
            self.finished.add(index)
            self.assembler.tally.content += 1
        choice.raw_finish_reason = jsontext.well_formed(finish)
        choice.finish_reason = FINISH_REASONS.get(finish.lower(), "other")

    def _delta(self, answer: Answer, index: int, delta: JSONObject, events: list[Event], whole: bool) -> None:
        content = delta.get("content")
        function: JSON = None
        if not delta.keys() <= _DELTA_KEYS:
            for key, value in delta.items():
                if key not in _DELTA_KEYS and not is_shell(value):
                    if key == "function_call" and isinstance(value, dict):
                        function = value
                    else:
                        self._keep_key(answer, key, value)
            self._reasoning(answer, index, delta, events)
        if isinstance(content, str):
            self.text(answer, index, content, events)
        elif isinstance(content, list):
            self._parts(answer, index, content, events)
        elif content is not None:
            self._refuse("content that is neither text nor a list of parts")
        refusal = delta.get("refusal")
        if isinstance(refusal, str):
            self._refusal(answer, index, refusal, events)
        calls = delta.get("tool_calls")
        if calls is not None:
            if answer.has_function and not is_shell(calls):
                answer.choice.tools.cut(0)  # The same call again, in the form that has an id: no more of this one.
                answer.has_function = False
            self._tool_calls(answer, calls, events, whole)
        if function is not None and (answer.has_function or not answer.choice.has_tools):
            # Beside `tool_calls` it says the same once more.
            answer.has_function = True
            self._tool_calls(answer, [{"function": function}], events, whole)

    def _keep_key(self, answer: Answer, key: str, value: JSON) -> None:
        """A key of the message that is not part of its text, refusal or tool calls."""
        pieces = answer.keys.setdefault(key, [])
        again = key in _CONTENT_WHOLES and value in pieces[-1:]
        if key in _CONTENT_PIECES or (key in _CONTENT_WHOLES and not again):
            self.assembler.tally.take(value)
        else:
            self.assembler.tally.beside += 1
        if not again:
            pieces.append(value)

    def text(self, answer: Answer, index: int, text: str, events: list[Event]) -> None:
        """A piece of a choice's text."""
        piece = answer.text_joiner.join(text)
        if piece:
            answer.choice.text.append(piece)
            events.append(TextDelta(piece, index))

    def _refusal(self, answer: Answer, index: int, text: str, events: list[Event]) -> None:
        piece = answer.refusal_joiner.join(text)
        if piece:
            answer.choice.refusal.append(piece)
            events.append(RefusalDelta(piece, index))

    def _reasoning(self, answer: Answer, index: int, delta: JSONObject, events: list[Event]) -> None:
        """Under one of its names; servers in transition send the same text under two."""
        text = delta.get("reasoning_content")
        if not isinstance(text, str) or not text:
            text = delta.get("reasoning")
        if not isinstance(text, str) or not text:
            named = answer.keys.keys() & {"reasoning_content", "reasoning"}
            text = "" if named else details_text(delta.get("reasoning_details"))
        self._reasoning_text(answer, index, text, events)

    def _reasoning_text(self, answer: Answer, index: int, text: str, events: list[Event]) -> None:
        piece = answer.reasoning_joiner.join(text)
        if piece:
            answer.choice.reasoning.append(piece)
            events.append(ReasoningDelta(piece, index))

    def _parts(self, answer: Answer, index: int, parts: list[JSON], events: list[Event]) -> None:
        """Mistral's content: text, thinking and references as parts."""
        for part in parts:
            if isinstance(part, str):
                self.text(answer, index, part, events)
            elif not isinstance(part, dict):
                if part is not None:
                    self._refuse("a content part that is not an object")
                    return
            elif part.get("type") in ("text", "output_text", None) and isinstance(part.get("text"), str):
                self.text(answer, index, part["text"], events)
            elif part.get("type") == "refusal" and isinstance(part.get("refusal"), str):
                self._refusal(answer, index, part["refusal"], events)
            else:
                self.assembler.tally.take(part)
                answer.marks.append((len(answer.choice.text), part))
                if part.get("type") == "thinking":
                    self._reasoning_text(answer, index, thinking_text(part), events)

    def _tool_calls(self, answer: Answer, calls: JSON, events: list[Event], whole: bool) -> None:
        if isinstance(calls, dict):
            calls = [calls]
        if not isinstance(calls, list):
            self._refuse("tool_calls that are not a list")
            return
        tools = answer.choice.tools
        for position, call in enumerate(calls):
            if call is None:
                continue
            # In a whole message each entry is a call of its own, whatever it says.
            place = len(tools) if whole else call.get("index") if isinstance(call, dict) else None
            function = call.get("function") if isinstance(call, dict) else call
            if isinstance(call, dict) and function is None:
                if isinstance(call.get("custom"), dict):
                    self._custom_call(answer, call, place, events, whole)
                    continue
                function = call
            if not isinstance(function, dict):
                self._refuse("a tool call that is not an object")
                return
            name, arguments = name_and_arguments(call, function)
            extras = call_extras(call, function)
            if not (name or call.get("id") or extras) and is_shell(arguments):
                continue
            events += tools.fragment(
                index=place,
                id=call.get("id"),
                name=name,
                arguments=arguments,
                extras=extras,
                apart=whole or (position > 0 and place is None and bool(name) and not call.get("id")),
            )
        if tools.error is not None:
            self._fail(tools.error)

    def _custom_call(self, answer: Answer, call: JSONObject, place: JSON, events: list[Event], whole: bool) -> None:
        custom = call["custom"]
        events += answer.choice.tools.fragment(index=place, id=call.get("id"), name=custom.get("name"), apart=whole)
        name, pieces = answer.custom.setdefault(place if type(place) is int else None, ("", []))
        if not name and isinstance(custom.get("name"), str):
            answer.custom[place if type(place) is int else None] = (jsontext.well_formed(custom["name"]), pieces)
        if isinstance(custom.get("input"), str) and custom["input"]:
            self.assembler.tally.content += 1
            pieces.append(custom["input"])

    # -- what describes the reply -----------------------------------------------------------------------------------

    def brings_news(self, chunk: JSONObject) -> bool:
        """Whether it says beside its choices what the one that was kept last did not say."""
        last = self.last
        last["choices"] = chunk.get("choices")
        for key in self.varying:
            last[key] = chunk.get(key)
        return chunk != last

    def _keep(self, chunk: JSONObject) -> None:
        """A chunk's own keys, for `raw`."""
        top, last = self._top, self.last
        varying: list[str] = []
        for key, value in chunk.items():
            if key == "choices":
                continue
            if key in _NOISE:
                varying.append(key)
                continue
            if is_nothing(value) or (key in _FIRST and top.get(key)) or (key == "usage" and counts_nothing(value)):
                known = top.setdefault(key, value)
                if key == "usage" and isinstance(known, dict) and isinstance(value, dict):
                    top[key] = {**value, **known}
            else:
                top[key] = value
            if (key == "object" or (key in _FIRST and top.get(key))) and (
                key in self.varying or last.get(key, value) != value
            ):
                varying.append(key)
        self.last = dict(chunk)
        self.varying = tuple(varying)

    def _count_all(self, chunk: JSONObject) -> None:
        """The model and the counts."""
        if not self.assembler.model and isinstance(chunk.get("model"), str):
            self.assembler.model = jsontext.well_formed(chunk["model"])
        self._count(chunk.get("usage"))
        groq = chunk.get("x_groq")
        if isinstance(groq, dict):
            self._count(groq.get("usage"))

    def _describe_choice(self, answer: Answer, choice: JSONObject) -> None:
        for key, value in choice.items():
            if value is None or key in _CHOICE_KEYS or is_nothing(value):
                continue
            if key in _GROWING:
                self.assembler.tally.beside += 1
                answer.logs.setdefault(key, []).append(value)
            else:
                answer.other[key] = value
        self._count(choice.get("usage"))  # Moonshot

    def _count(self, usage: JSON) -> None:
        """The last count of each kind holds: some servers send growing ones."""
        if isinstance(usage, dict):
            self.assembler.usage = merged_usage(self.assembler.usage, usage_of(usage, self._thinks_apart))

    def _refuse(self, what: str, code: str = "bad_event") -> None:
        self._fail(LLMProtocolError(f"{self.provider} sent {what}", code=code))

    def _fail(self, error: LLMError) -> None:
        if self.error is None:
            error.provider = error.provider or self.provider
            error.model = error.model or self.model
            self.error = error


#: What is handed to `failure_from_event()` of a chunk that may hold text of the answer as well.
_TELLING: Final = ("error", "message", "msg", "code", "type", "detail", "errors", "status", "request_id", "object")


def reported_error(value: JSON) -> JSON:
    """The part of a chunk or body that is the server's error, or None."""
    if isinstance(value, list):  # Gemini wraps its errors in an array.
        first = value[0] if value else None
        return value if isinstance(first, dict) and first.get("error") else None
    if not isinstance(value, dict):
        return None
    if value.get("error"):
        return _telling(value)
    groq = value.get("x_groq")
    if isinstance(groq, dict) and groq.get("error"):
        return {"error": groq["error"]}
    if value.get("choices") is not None:
        return None
    if value.get("object") == "error" or value.get("type") == "error":
        return _telling(value)
    if value.get("detail") or value.get("errors") or (isinstance(value.get("message"), str) and value["message"]):
        return _telling(value)
    minimax = value.get("base_resp")
    if isinstance(minimax, dict) and minimax.get("status_code"):
        return minimax
    return None


def _telling(value: JSONObject) -> JSONObject:
    return {key: value[key] for key in _TELLING if key in value}
