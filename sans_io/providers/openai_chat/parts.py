"""The parts of OpenAI's wire that describe an answer: counts, reasoning under its several names, keys to send back.

Rules of this file:
- Pure functions of received values of any type; what is not what it should be is passed over.
"""

from __future__ import annotations

from typing import Final

from ...chat.response import Usage
from ...decode.jsontext import JSON, JSONObject
from ..json_replies import count

CALL_KEYS: Final = frozenset({"index", "id", "type", "function", "custom"})


def usage_of(usage: JSONObject) -> Usage:
    """Token counts of a `usage` object; what is no count is None. `prompt_tokens` includes cached ones on this wire."""
    get = usage.get
    prompt, completion = get("prompt_tokens_details"), get("completion_tokens_details")
    prompt = prompt if isinstance(prompt, dict) else {}
    completion = completion if isinstance(completion, dict) else {}
    return Usage(
        _first(get("prompt_tokens"), get("input_tokens")),
        _first(get("completion_tokens"), get("output_tokens")),
        _first(prompt.get("cached_tokens"), get("prompt_cache_hit_tokens"), get("cached_tokens")),
        _first(prompt.get("cache_write_tokens"), get("cache_write_tokens")),
        _first(completion.get("reasoning_tokens"), get("reasoning_tokens")),
    )


def _first(*values: JSON) -> int | None:
    for value in values:
        if value is not None:
            number = count(value)
            if number is not None:
                return number
    return None


def merged_usage(known: Usage, sent: Usage) -> Usage:
    """The last count of each kind holds: some servers send growing ones, some only a part each time."""
    return Usage(
        _last(known.input_tokens, sent.input_tokens),
        _last(known.output_tokens, sent.output_tokens),
        _last(known.cached_tokens, sent.cached_tokens),
        _last(known.cache_write_tokens, sent.cache_write_tokens),
        _last(known.reasoning_tokens, sent.reasoning_tokens),
    )


def _last(known: int | None, sent: int | None) -> int | None:
    return known if sent is None else sent


def is_nothing(value: JSON) -> bool:
    """Null and what is empty: said as often as left out, so it means the same."""
    return value is None or (not value and isinstance(value, (str, list, dict)))


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
        inner = {k: v for k, v in function.items() if k not in ("name", "arguments") and not is_nothing(v)}
        if inner:
            kept["function"] = inner
        kept.update((k, v) for k, v in call.items() if k not in CALL_KEYS and not is_nothing(v))
    return kept or None
