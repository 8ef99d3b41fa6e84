"""Every cap of the core in one frozen object, and the checks for numbers that users pass.

Rules of this file:
- The forms of one reply have equal caps: what passes as one JSON body (`max_json`) passes in one event or line of a
  stream too, whole or as arguments of a call.
- L is accepted, L + 1 is refused with a typed error (R8).
- A number that is out of range is refused where it is passed, not where it would overflow.
"""

from __future__ import annotations

from typing import Final, TypeGuard

from .records import dataclass

#: The largest count of anything: beyond it no size or position is possible.
MAX_COUNT: Final = 2**63 - 1
#: The largest whole number of seconds that a float, and so a point in time, can hold.
_MAX_SECONDS: Final = 10**308


def is_count(value: object, least: int = 0) -> TypeGuard[int]:
    """Whether it is a whole number from `least` to `MAX_COUNT`. True and False are not."""
    return type(value) is int and least <= value <= MAX_COUNT


def is_seconds(value: object) -> TypeGuard[float]:
    """Whether it is a number of seconds of at least 0, infinity included, that can be added to a time."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return value >= 0 and (isinstance(value, float) or value <= _MAX_SECONDS)


def shown(value: object) -> str:
    """For an error: `repr`, which raises for integers of thousands of digits."""
    if isinstance(value, int) and abs(value) > MAX_COUNT:
        return f"an integer of {value.bit_length()} bits"
    return repr(value)


KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be buffered or counted, in bytes unless said otherwise. None is unlimited by default."""

    #: Status line and header fields of one response head; nginx and Apache stop at 8 to 32 KiB.
    max_head: int = 64 * KIB
    #: Header fields of one response head, a count; real providers send 20 to 40.
    max_headers: int = 128
    #: 1xx responses before the final one, a count: a server that sends more is only keeping us busy.
    max_informational: int = 8
    #: One chunk-size line with its extensions (RFC 9112 section 7.1).
    max_chunk_line: int = 4 * KIB
    #: A JSON body, decoded whole: a 128k-token answer with log probabilities stays below it.
    max_json: int = 16 * MIB
    #: What is read of an error body: its beginning has the explanation; the rest is dropped, and the error says so.
    max_error_body: int = 1 * MIB
    #: One line of an event stream, without its end: the data of one event, and the name of its field.
    max_sse_line: int = 16 * MIB + KIB
    #: The joined data of one event.
    max_sse_event: int = 16 * MIB
    #: All body bytes of one stream.
    max_stream: int = 256 * MIB
    #: One NDJSON line, without its end.
    max_ndjson_line: int = 16 * MIB
    #: Nesting of a JSON document, a count: the interpreter's own recursion limit is a crash, this is an error.
    max_json_depth: int = 128
    #: `{` and `[` in one document, a count: a tree of them costs some 100 bytes each.
    max_json_containers: int = 500_000
    #: Digits of one integer, a count: CPython's own conversion limit (CVE-2020-10735).
    max_json_digits: int = 4_300
    #: Highest `index` of a tool call, and of a choice.
    max_tool_index: int = 255
    #: All argument text of one tool call, in characters.
    max_tool_arguments: int = 16 * MIB
    #: Head of a proxy's answer to CONNECT.
    max_tunnel_head: int = 16 * KIB

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not is_count(value):
                raise ValueError(f"Limits.{name} must be an integer of at least 0, not {shown(value)}")


DEFAULT_LIMITS = Limits()
