"""JSON text in and out, with its guards: the one place of the core that decodes and encodes JSON.

Rules of this file:
- RFC 8259 and nothing beyond: NaN, Infinity and numbers that overflow a double are refused; bytes must be UTF-8.
- Received text is hostile: openers are counted before anything is built, depth, digits and containers are capped
  (`Limits`), and a refusal is a `JSONTextError`, whatever the standard library would have raised.
- The standard library decides. A faster decoder may only give the same value sooner.
- An error never keeps the text that caused it (a `JSONDecodeError` does, in `.doc`).
"""

from __future__ import annotations

import json
import re
from codecs import utf_16_le_decode, utf_16_le_encode
from collections.abc import Callable, Iterable
from typing import Any, Final, Literal, TypeAlias

from ..limits import DEFAULT_LIMITS, Limits
from . import json_guards

#: A JSON value. The one explicit `Any` of the core: a recursive alias would force a cast at every look into a reply.
JSON: TypeAlias = Any
JSONObject: TypeAlias = dict[str, Any]
Scan: TypeAlias = Callable[[str, int], tuple[JSON, int]]
Reason: TypeAlias = Literal[
    "syntax", "depth", "containers", "digits", "number", "utf8", "duplicate_key", "type", "too_large"
]


class JSONTextError(ValueError):
    """Text that is not JSON, or JSON that a guard refuses; `reason` says which.

    "syntax", "utf8", "number" (NaN, Infinity, overflow), "digits", "depth", "containers", "too_large" (received
    text), "duplicate_key" (only where keys must be unique), "type" (`dumps` was given something JSON cannot represent).
    """

    def __init__(self, message: str = "", reason: Reason = "syntax") -> None:
        super().__init__(message)
        self.reason: Reason = reason


def loads(data: bytes | str, *, limits: Limits = DEFAULT_LIMITS, unique_keys: bool = False) -> JSON:
    """The value of one JSON document; white space and one BOM before it are tolerated (RFC 8259 section 8.1).

    Strings always encode to UTF-8: an unpaired surrogate escape becomes U+FFFD. With `unique_keys` an object with a
    duplicate key is refused (it means different things to different parsers). Raises `JSONTextError`.
    """
    if len(data) > limits.max_json:
        raise JSONTextError(f"more than {limits.max_json} bytes of JSON", "too_large")
    text = decode_utf8(data) if isinstance(data, bytes) else well_formed(data)
    value = decode(text, limits, unique_keys)
    return _mended(value) if "\\" in text and _SURROGATE_ESCAPE.search(text) else value


def dumps(value: JSON) -> bytes:
    """Compact UTF-8 JSON. Raises `JSONTextError` naming the path of what is not JSON (`messages[2].content`)."""
    try:
        return "".join(_ENCODE(value, 0)).encode()
    except (TypeError, ValueError, RecursionError) as fault:
        error = _explain(value, fault)
    raise error


def well_formed(text: str) -> str:
    """The same text with surrogate pairs joined and unpaired halves as U+FFFD, so that it encodes to UTF-8."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        # Not `str.encode`, which would import the codec in the middle of a reply.
        return utf_16_le_decode(utf_16_le_encode(text, "surrogatepass")[0], "replace", True)[0]
    return text


class SurrogateJoiner:
    """Joins a character whose two UTF-16 halves came in two deltas (servers that cut text between escapes)."""

    __slots__ = ("_half",)

    def __init__(self) -> None:
        self._half = ""

    @property
    def waiting(self) -> bool:
        """Whether a first half waits for its second."""
        return self._half != ""

    def join(self, text: str) -> str:
        """`text` as it may be handed out, which can be `""` while a first half waits for the second."""
        if text.isascii() and not self._half:
            return text
        if not text:
            return text
        text = self._half + text
        self._half = ""
        if "\ud800" <= text[-1] <= "\udbff":
            self._half = text[-1]
            text = text[:-1]
        return well_formed(text)

    def flush(self) -> str:
        """The text is over: U+FFFD if a first half was left waiting, else `""`."""
        half, self._half = self._half, ""
        return "\ufffd" if half else ""


def decode_utf8(data: bytes) -> str:
    """The text of a JSON document's bytes, without a BOM. Raises `JSONTextError`."""
    try:
        text = data.decode()
    except UnicodeDecodeError as fault:
        error = JSONTextError(f"not UTF-8 at byte {fault.start}", "utf8")
    else:
        return text.removeprefix("\ufeff")
    raise error


def decode(text: str, limits: Limits = DEFAULT_LIMITS, unique_keys: bool = False) -> JSON:
    """`loads` for text already at hand, surrogates left as they are (a delta may hold half a character)."""
    if len(text) > limits.max_json:
        raise JSONTextError(f"more than {limits.max_json} characters of JSON", "too_large")
    containers = text.count("{") + text.count("[")
    if containers > limits.max_json_containers:
        raise JSONTextError(f"more than {limits.max_json_containers} objects and arrays", "containers")
    if len(text) > MAX_IN_PLACE:
        size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        # The body and the text decoded from it count too.
        if json_guards.too_large(text, 11 * size + _FREE_MEMORY - text.__sizeof__(), unique_keys):
            raise JSONTextError("so many small values that decoding would take many times its size", "too_large")
    if containers > limits.max_json_depth and json_guards.too_deep(text, limits.max_json_depth):
        raise JSONTextError(f"nested deeper than {limits.max_json_depth}", "depth")
    scan = _UNIQUE_SCAN if unique_keys else SCAN
    digits = limits.max_json_digits
    if len(text) > digits and has_digit_run(text, 0, len(text), digits):
        scan = _counting_scan(digits, unique_keys)
    try:
        value, end = scan(text, 0 if text[:1] == "{" else _skip_space(text, 0))
        if end != len(text):
            end = _skip_space(text, end)
    except JSONTextError as fault:
        error = fault
    except StopIteration as fault:
        error = JSONTextError(f"no JSON value at character {fault.value}")
    except json.JSONDecodeError as fault:
        error = JSONTextError(f"{fault.msg.removesuffix(' at')} at character {fault.pos}")
    except RecursionError:
        error = JSONTextError("nested too deeply", "depth")
    except ValueError:  # int(): the interpreter's own limit on digits
        error = JSONTextError("an integer has too many digits", "digits")
    else:
        if end != len(text):
            raise JSONTextError(f"extra text after the JSON value at character {end}")
        return value
    raise error.with_traceback(None)


def accelerate() -> bool:
    """Use msgspec for short documents from now on; whether it is installed. Importing it takes some 30 ms and reads
    files, so the core never does it by itself: a transport calls this when a call begins. Only the first time costs.
    Raises what its import raises where it is installed and cannot be loaded.
    """
    if not _FASTER:
        try:
            import msgspec
        except ModuleNotFoundError:
            _FASTER.append(None)
        else:
            _FASTER.append((msgspec.json.Decoder().decode, (msgspec.MsgspecError, ValueError, RecursionError)))
    return _FASTER[0] is not None


def accelerator(limits: Limits = DEFAULT_LIMITS) -> Callable[[bytes], JSON] | None:
    """A decoder of single documents that gives what `decode` would give, or `UNSURE`: then ask `decode`. None if off.

    It saves 3 of the 4 µs that a streamed chunk costs. It refuses what msgspec might judge by other rules: what a
    guard of `Limits` could concern, and every error.
    """
    faster = _FASTER[0] if _FASTER else None
    if faster is None:
        return None
    decode_one, errors = faster
    harmless = Harmless(limits)
    crowd, digits = harmless.crowd, harmless.digits
    longest = min(MAX_IN_PLACE // 2, limits.max_json)
    small = min(harmless.small, longest)

    def decode_fast(data: bytes) -> JSON:
        size = len(data)
        if size > small and (size > longest or size > digits or data.count(b"{") + data.count(b"[") > crowd):
            return UNSURE
        try:
            return decode_one(data)
        except errors:
            return UNSURE

    return decode_fast


class Harmless:
    """Which documents no guard of `decode` against depth and digits could refuse, so a decoder may see them at once.

    One of up to `small` characters is neither nested too deeply, whole or cut, nor does it hold too long a number; of a
    larger one `holds` tells. One of up to `crowd` openers is not nested too deeply.
    """

    __slots__ = ("crowd", "digits", "small")

    def __init__(self, limits: Limits) -> None:
        self.crowd = min(limits.max_json_depth, limits.max_json_containers)
        self.digits = limits.max_json_digits
        self.small = min(self.crowd, self.digits)

    def holds(self, text: str, start: int, stop: int) -> bool:
        """Whether that is so of the document scanned there."""
        if text.count("{", start, stop) + text.count("[", start, stop) > self.crowd:
            return False
        return not has_digit_run(text, start, stop, self.digits)


def has_digit_run(text: str, start: int, stop: int, digits: int) -> bool:
    """Whether more than `digits` digits follow each other somewhere. Such a run covers one of the places looked at, so
    ordinary text costs nothing; a search for it would look at every character.
    """
    for at in range(start + digits, stop, digits + 1):
        if text[at] in _DIGITS:
            before = len(text[at - digits : at]) - len(text[at - digits : at].rstrip(_DIGITS))
            after = len(text[at : at + digits + 1]) - len(text[at : at + digits + 1].lstrip(_DIGITS))
            if before + after > digits:
                return True
    return False


def well_formed_tree(value: JSON) -> JSON:
    """A copy of a JSON value in which every string and key encodes to UTF-8. Depth is that of a decoded document."""
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, dict):
        return {well_formed(key): well_formed_tree(item) for key, item in value.items()}
    if isinstance(value, list):
        return [well_formed_tree(item) for item in value]
    return value


def _mended(value: JSON) -> JSON:
    """`well_formed_tree` in place: a second tree beside a large one would double what decoding takes."""
    if isinstance(value, str):
        return well_formed(value)
    containers = [value]
    while containers:
        container = containers.pop()
        if isinstance(container, dict):
            if not "".join(container).isascii():
                items = [(well_formed(key), item) for key, item in container.items()]
                container.clear()
                container.update(items)
            places: Iterable[JSON] = container
        else:
            places = range(len(container) if isinstance(container, list) else 0)
        for place in places:
            item = container[place]
            if isinstance(item, str):
                container[place] = well_formed(item)
            elif isinstance(item, (dict, list)):
                containers.append(item)
    return value


def _finite(text: str) -> float:
    value = float(text)
    if value in (_INFINITY, -_INFINITY):
        raise JSONTextError("a number is too large for a double", "number")
    return value


def _refuse_constant(name: str) -> JSON:
    raise JSONTextError(f"{name} is not JSON", "number")


def _unique(pairs: list[tuple[str, JSON]]) -> JSONObject:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise JSONTextError("an object has a duplicate key", "duplicate_key")
    return value


def _scan_of(decoder: json.JSONDecoder) -> Scan:
    scan: Scan = vars(decoder)["scan_once"]  # the C scanner, which `raw_decode` wraps; no stub names it
    return scan


def _encode_of(encoder: json.JSONEncoder) -> Callable[[JSON, int], Iterable[str]]:
    """What `encoder.encode` does, less what it creates for each document but its memory of where it is: without that
    a value that contains itself is followed to the end of the stack, which in a thread may come before Python's limit.
    """
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:  # another implementation of Python
        return lambda value, _: (encoder.encode(value),)
    default, quote = encoder.default, json.encoder.encode_basestring
    colon, comma = encoder.key_separator, encoder.item_separator

    def encode(value: JSON, level: int) -> Iterable[str]:
        pieces: Iterable[str] = make({}, default, quote, None, colon, comma, False, False, False)(value, level)
        return pieces

    return encode


#: Text up to this size, in characters, may be scanned at once: its tree is small enough to need no guard on memory.
MAX_IN_PLACE: Final = 128 * 1024
#: Decoding takes at most 12 times the document's bytes, body and text included, and this much.
_FREE_MEMORY: Final = 8 * 1024 * 1024
#: What an `accelerator` answers where it leaves the verdict to `decode`.
UNSURE: Final = object()
#: Empty until `accelerate()` was called; then msgspec's decoder and its errors, or None where it is not installed.
_FASTER: Final[list[tuple[Callable[[bytes], JSON], tuple[type[Exception], ...]] | None]] = []
_DIGITS: Final = "0123456789"
_INFINITY: Final = float("inf")
_ENCODE: Final = _encode_of(json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")))
_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_SPACE: Final = re.compile(r"[ \t\n\r]*")
#: `SCAN(text, start) -> (value, end)`: the C scanner, for callers that keep the guards of `decode` themselves.
SCAN: Final = _scan_of(json.JSONDecoder(parse_float=_finite, parse_constant=_refuse_constant))
_UNIQUE_SCAN: Final = _scan_of(
    json.JSONDecoder(parse_float=_finite, parse_constant=_refuse_constant, object_pairs_hook=_unique)
)


def _skip_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _counting_scan(digits: int, unique_keys: bool) -> Scan:
    """A scanner for text with a long run of digits somewhere: in a string it is welcome, as an integer it is not."""

    def bounded(text: str) -> int:
        if len(text) - text.startswith("-") > digits:
            raise JSONTextError(f"an integer has more than {digits} digits", "digits")
        return int(text)

    hook = _unique if unique_keys else None
    decoder = json.JSONDecoder(
        parse_int=bounded, parse_float=_finite, parse_constant=_refuse_constant, object_pairs_hook=hook
    )
    return _scan_of(decoder)


def _explain(value: JSON, fault: Exception) -> JSONTextError:
    """What is wrong with a value that could not be encoded, and where."""
    if isinstance(fault, UnicodeEncodeError):
        reason: Reason = "utf8"
        found = _locate(value, "", lambda item: isinstance(item, str) and not _encodes(item))
        what = "text with an unpaired surrogate"
    elif isinstance(fault, RecursionError) or "ircular" in str(fault):
        return JSONTextError("nested too deeply, or a value that contains itself", "depth")
    elif isinstance(fault, ValueError):
        reason = "number"
        found = _locate(value, "", lambda item: isinstance(item, float) and item - item != 0)
        what = "a number that JSON cannot represent"
    else:
        reason = "type"
        found = _locate(value, "", lambda item: not isinstance(item, (dict, list, tuple, str, int, float, type(None))))
        what = "a value that is not JSON"
    path, item = found or ("", None)
    kind = f" ({type(item).__name__})" if found else ""
    return JSONTextError(f"{path or 'the value'} is {what}{kind}", reason)


def _encodes(text: str) -> bool:
    return text == well_formed(text)


def _locate(value: JSON, path: str, wrong: JSON) -> tuple[str, JSON] | None:
    """The path and value of the first wrong leaf or key, depth first."""
    if isinstance(value, dict):
        for key, item in value.items():
            if wrong(key) or not isinstance(key, (str, int, float, type(None))):
                return f"a key of {path or 'the value'}", key
            found = _locate(item, f"{path}.{key}" if path else str(key), wrong)
            if found:
                return found
        return None
    if isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            found = _locate(item, f"{path}[{number}]", wrong)
            if found:
                return found
        return None
    return (path, value) if wrong(value) else None
