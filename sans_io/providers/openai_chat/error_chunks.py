"""Where a server of OpenAI's wire reports an error inside a 2xx reply.

Rules of this file:
- A key that is there but empty (`"error": null`) is no error.
- Without `choices` a message of any of the flat shapes is one; with them only `error` is.
"""

from __future__ import annotations

from typing import Final

from ...decode.jsontext import JSON, JSONObject

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
