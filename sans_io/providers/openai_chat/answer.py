"""One choice of OpenAI's wire as it arrives, and the message that it becomes.

Rules of this file:
- Counts, reasoning under its several names and keys to send back may be of any type; what is not what it should be is
  passed over.
- Pieces are collected here and joined only when somebody asks; asking twice gives equal, separate values.
"""

from __future__ import annotations

from typing import Final

from ...chat.assembly import ChoiceAssembler
from ...chat.response import Choice, Usage
from ...chat.shapes import NOT_FROM_SERVERS, TokenLogprob
from ...chat.tool_calls import ARGUMENT_KEYS
from ...decode import jsontext
from ...decode.jsontext import JSON, JSONObject, SurrogateJoiner
from ...limits import MAX_COUNT
from ..json_replies import count, token_logprobs
from ..merging import copied, merged_pieces


class Answer:
    """One choice as it arrives: the assembler's slots, halves of characters, and keys to keep."""

    __slots__ = (
        "choice",
        "custom",
        "ends_unnamed",
        "has_function",
        "keys",
        "logs",
        "marks",
        "other",
        "reasoning_joiner",
        "refusal_joiner",
        "text_joiner",
    )

    def __init__(self, choice: ChoiceAssembler) -> None:
        self.choice = choice
        self.text_joiner = SurrogateJoiner()
        self.reasoning_joiner = SurrogateJoiner()
        self.refusal_joiner = SurrogateJoiner()
        #: Pieces of message keys nobody here knows, and of the reasoning under the name it came with.
        self.keys: dict[str, list[JSON]] = {}
        #: The choice's own keys (content_filter_results ...), and pieces of those that grow (logprobs).
        self.other: JSONObject = {}
        self.logs: dict[str, list[JSON]] = {}
        #: Content parts that are not text, each with the number of text pieces before it.
        self.marks: list[tuple[int, JSONObject]] = []
        #: A finish reason "" came: on every delta of some servers, so it counts only where nothing better comes.
        self.ends_unnamed = False
        #: Whether its call came as the deprecated `function_call`.
        self.has_function = False
        #: Calls of custom tools, whose free text is whole only at the end: place -> (name, pieces).
        self.custom: dict[JSON, tuple[str, list[str]]] = {}


def extras_of(answer: Answer) -> JSONObject:
    """The message's keys beside role, content and tool calls, to be sent back as they came."""
    extras: JSONObject = {
        key: _each_once(pieces) if key in _MEDIA and isinstance(pieces[-1], list) else merged_pieces(pieces, key)
        for key, pieces in answer.keys.items()
    }
    if answer.choice.refusal:
        extras["refusal"] = "".join(answer.choice.refusal)
    if answer.marks:
        parts = _own_parts(_content_parts(answer))
        if parts:
            extras["content"] = parts
    return extras


#: Keys of a message whose entries are whole: several servers number each of them 0, or send all so far each time.
_MEDIA: Final = frozenset({"images", "video"})


def _each_once(pieces: list[JSON]) -> list[JSON]:
    """The entries of lists, each once."""
    entries: list[JSON] = []
    for piece in pieces:
        for entry in piece if isinstance(piece, list) else [piece]:
            if entry not in entries:
                entries.append(copied(entry))
    return entries


def logprobs_of(answer: Answer) -> list[TokenLogprob] | None:
    """What the choice's `logprobs` say of the tokens of its text."""
    whole = merged_pieces(answer.logs.get("logprobs", []))
    return token_logprobs(whole.get("content")) if isinstance(whole, dict) else None


def raw_choice(answer: Answer, choice: Choice) -> JSONObject:
    """The choice in the shape of a reply that was not streamed; `choice` is what the assembler made of it."""
    message = copied(choice.message)
    for key in NOT_FROM_SERVERS & answer.keys.keys():
        message[key] = merged_pieces(answer.keys[key], key)
    if answer.marks:
        message["content"] = copied(_content_parts(answer))
    if choice.invalid_tool_calls:
        message["tool_calls"] = message.get("tool_calls", []) + [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.raw_arguments}}
            for call in choice.invalid_tool_calls
        ]
    return {
        "index": choice.index,
        **copied(answer.other),
        **{key: merged_pieces(pieces, key) for key, pieces in answer.logs.items()},
        "message": message,
        "finish_reason": choice.raw_finish_reason,
    }


def _content_parts(answer: Answer) -> list[JSONObject]:
    """Content as the list of parts it came in; pieces of one thinking part become one."""
    parts: list[JSONObject] = []
    texts, at = answer.choice.text, 0
    for position, part in answer.marks:
        if position > at:
            parts.append({"type": "text", "text": jsontext.well_formed("".join(texts[at:position]))})
            at = position
        if part.get("type") == "thinking":
            _add_thinking(parts, part)
        else:
            parts.append(part)
    if at < len(texts):
        parts.append({"type": "text", "text": jsontext.well_formed("".join(texts[at:]))})
    for part in parts:
        if part.get("type") == "thinking":
            for inner in part["thinking"]:
                if inner.get("type") == "text":
                    inner["text"] = jsontext.well_formed("".join(inner["text"]))
    return parts


def _add_thinking(parts: list[JSONObject], piece: JSONObject) -> None:
    """A piece of a thinking part, which ends with its signature. Texts are collected as lists; references stay where
    they stood between them.
    """
    part = parts[-1] if parts else {}
    if part.get("type") != "thinking" or part.get("signature"):
        part = {"type": "thinking", "thinking": [{"type": "text", "text": []}]}
        parts.append(part)
    part.update((key, value) for key, value in piece.items() if key not in part and value is not None)
    if piece.get("closed") is not None:
        part["closed"] = piece["closed"]
    thinking = piece.get("thinking")
    for inner in thinking if isinstance(thinking, list) else [{"type": "text", "text": thinking}]:
        if not isinstance(inner, dict):
            continue
        last = part["thinking"][-1]
        text = inner.get("text")
        if inner.get("type", "text") != "text":
            # What stands before the first text leaves no empty one behind.
            part["thinking"][-1:] = [inner] if last.get("type") == "text" and not last["text"] else [last, inner]
        elif isinstance(text, str):
            if last.get("type") == "text":
                last["text"].append(text)
            else:
                part["thinking"].append({"type": "text", "text": [text]})


def _own_parts(parts: list[JSONObject]) -> list[JSONObject]:
    """Those that a server of this wire may put into the history: parts, and no blocks of Anthropic's."""
    from ...chat.message_checks import is_part  # few servers answer in parts
    from ..blocks import is_block

    own = [part for part in parts if part.get("type") == "thinking" or not is_block(part.get("type"))]
    return list(filter(is_part, own))


CALL_KEYS: Final = frozenset({"index", "id", "type", "function", "custom"})
#: Keys of a call, or of its function, that are read, or say no more than its place.
_READ_KEYS: Final = frozenset({"index", "name", *ARGUMENT_KEYS})


def usage_of(usage: JSONObject, thinks_apart: bool = False) -> Usage:
    """Token counts of a `usage` object; what is no count is None. `prompt_tokens` includes cached ones on this wire.

    Some totals hold more than prompt and completion: reasoning tokens (xAI), or tokens of a recording (Mistral), that
    are counted apart. Ours include them. `thinks_apart`: what nothing explains is thinking (Gemini, which leaves out a
    completion of no tokens).
    """
    get = usage.get
    prompt, completion = get("prompt_tokens_details"), get("completion_tokens_details")
    prompt = prompt if isinstance(prompt, dict) else {}
    completion = completion if isinstance(completion, dict) else {}
    sent, made = (
        _first(get("prompt_tokens"), get("input_tokens")),
        _first(get("completion_tokens"), get("output_tokens")),
    )
    reasoning = _first(completion.get("reasoning_tokens"), get("reasoning_tokens"))
    total = get("total_tokens")
    if made is None and thinks_apart and total is not None:
        made = 0
    if type(total) is int and sent is not None and made is not None and sent + made < total <= MAX_COUNT:
        rest = total - sent - made
        if reasoning and reasoning <= rest:
            made += reasoning
            rest -= reasoning
        heard = _first(prompt.get("audio_tokens"), get("prompt_audio_tokens"), get("audio_prompt_tokens"))
        if heard and heard <= rest:
            sent += heard
        elif rest and get("prompt_audio_seconds"):
            sent += rest
        elif thinks_apart:
            made += rest
    return Usage(
        sent,
        made,
        _first(prompt.get("cached_tokens"), get("prompt_cache_hit_tokens"), get("cached_tokens")),
        _first(prompt.get("cache_write_tokens"), get("cache_write_tokens")),
        reasoning,
    )


def counts_nothing(usage: JSON) -> bool:
    """Whether it holds no count but zeros: some servers end with such a `usage`."""
    return not isinstance(usage, dict) or not any(type(value) is int and value > 0 for value in usage.values())


def _first(*values: JSON) -> int | None:
    for value in values:
        if value is not None:
            number = count(value)
            if number is not None:
                return number
    return None


def merged_usage(known: Usage, sent: Usage) -> Usage:
    """The last count of each kind holds: some servers send growing ones, some only a part each time. Zeros, which some
    end with, take no count's place.
    """
    return Usage(
        _last(known.input_tokens, sent.input_tokens),
        _last(known.output_tokens, sent.output_tokens),
        _last(known.cached_tokens, sent.cached_tokens),
        _last(known.cache_write_tokens, sent.cache_write_tokens),
        _last(known.reasoning_tokens, sent.reasoning_tokens),
    )


def _last(known: int | None, sent: int | None) -> int | None:
    return sent or known if known else sent if sent is not None else known


def is_nothing(value: JSON) -> bool:
    """Null and what is empty: said as often as left out, so it means the same."""
    return value is None or (not value and isinstance(value, (str, list, dict)))


def is_shell(value: JSON) -> bool:
    """Nothing, or objects and lists of nothing: `{"id": "", "expires_at": 0}` is how some servers leave a key out."""
    if isinstance(value, dict):
        return all(map(_is_unset, value.values()))
    if isinstance(value, list):
        return all(map(is_shell, value))
    return value is None or value == ""


def _is_unset(value: JSON) -> bool:
    return is_shell(value) or (type(value) is int and value == 0)


def details_text(details: JSON) -> str:
    """The readable text of OpenRouter's `reasoning_details`."""
    if not isinstance(details, list):
        return ""
    texts = []
    for detail in details:
        if isinstance(detail, dict):
            texts += [detail[key] for key in ("text", "summary") if isinstance(detail.get(key), str)]
    return "".join(texts)


def thinking_text(part: JSONObject) -> str:
    """The text of Mistral's thinking part, whose `thinking` is a list of text parts."""
    thinking = part.get("thinking")
    if isinstance(thinking, str):
        return thinking
    if not isinstance(thinking, list):
        return ""
    return "".join(one["text"] for one in thinking if isinstance(one, dict) and isinstance(one.get("text"), str))


def call_extras(call: JSONObject, function: JSONObject) -> JSONObject | None:
    """What a call carries beside the wire's own keys: Gemini's thought signature must come back with it."""
    if len(call) <= 4 and len(function) <= 2 and call.keys() <= CALL_KEYS:
        return None
    kept: JSONObject = {}
    if function is not call:
        inner = {k: v for k, v in function.items() if k not in _READ_KEYS and not is_nothing(v)}
        if inner:
            kept["function"] = inner
        outer = CALL_KEYS | _READ_KEYS
        kept.update((k, v) for k, v in call.items() if k not in outer and not is_nothing(v))
    return kept or None
