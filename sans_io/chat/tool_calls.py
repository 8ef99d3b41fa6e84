"""Fragments of tool calls in, whole `ToolCall`s out.

Rules of this file:
- Nothing received raises. What cannot be a call that may be run becomes a `ToolCall` with `arguments_error`.
- Which call a fragment belongs to is decided by id first, then index, then "the last one opened": servers leave out
  the index, give every call index 0, repeat id and name in every delta, change the id within a call, cut its name in
  two, or give two calls one id.
- Argument text is kept as received and parsed only when the stream is over; a cut text is never repaired.
- A call without argument text may have lost it. It is runnable only if the reply ended as a turn ends, the call was
  closed, and the reply holds no argument text and no nameless call that belongs to nobody.
- Bounded: `max_tool_index` + 1 calls, `max_tool_arguments` characters each; beyond that `error` is set and stays.
"""

from __future__ import annotations

from ..decode import jsontext
from ..decode.jsontext import JSON, JSONObject, JSONTextError, SurrogateJoiner
from ..errors import LLMProtocolError
from ..limits import DEFAULT_LIMITS, Limits
from .content import Tally
from .events import Event, ToolCallCompleted, ToolCallDelta, ToolCallStarted
from .response import ToolCall, as_label, parse_arguments

#: `arguments_error` of a call whose stream had not ended in order, or not as a turn ends.
INCOMPLETE = "incomplete"
#: `arguments_error` of a call without arguments beside some that belong to no call.
LOST = "the call has no arguments, and the reply holds some that belong to no call"

#: Where servers put a call's arguments.
ARGUMENT_KEYS = ("arguments", "parameters", "input", "args")


def name_and_arguments(call: JSONObject, function: JSONObject) -> tuple[JSON, JSON]:
    """Name and arguments of a call, from its `function` or from beside it, under any of their names. An empty object is
    the arguments only where there are no others.
    """
    name, arguments = function.get("name"), function.get("arguments")
    if not arguments or arguments == "{}":
        for place in (function, call):
            for key in ARGUMENT_KEYS:
                if place.get(key) and place[key] != "{}":
                    return name or call.get("name"), place[key]
    return name or call.get("name"), arguments


class ToolCallAssembler:
    """The tool calls of one choice. Feed `fragment()`, end with `finish()`, read `tool_calls()` at any time.

    `error` is None or the cap that was exceeded (`LLMProtocolError`, codes "too_many_tool_calls",
    "tool_arguments_too_large"); fragments after it are ignored. With `compact`, the `raw_arguments` of a valid call
    are its arguments in compact JSON: for wires that send an object in one form of a reply and text in the other. There
    an empty object is arguments like any other.
    `tally` gets the content that makes no event.
    """

    __slots__ = (
        "_by_id", "_by_index", "_calls", "_choice", "_compact", "_finished", "_limits", "_lost", "_tally",
        "_whole_turn", "error",
    )  # fmt: skip

    def __init__(
        self, choice: int = 0, limits: Limits = DEFAULT_LIMITS, *, compact: bool = False, tally: Tally | None = None
    ) -> None:
        self._choice = choice
        self._limits = limits
        self._compact = compact
        self._tally = tally or Tally()
        self._calls: list[_OpenCall] = []
        self._by_id: dict[str, _OpenCall] = {}
        self._by_index: dict[int, _OpenCall] = {}
        self._finished = False
        #: Whether the reply ended as a turn ends, and whether it holds arguments or a call that belong to nobody.
        self._whole_turn = True
        self._lost = False
        self.error: LLMProtocolError | None = None

    def __len__(self) -> int:
        return len(self._calls)

    def __bool__(self) -> bool:
        return bool(self._calls)

    def fragment(
        self,
        *,
        index: JSON = None,
        id: JSON = None,  # noqa: A002 - the wire's own word
        name: JSON = None,
        arguments: JSON = None,
        extras: JSONObject | None = None,
        apart: bool = False,
    ) -> list[Event]:
        """One piece of a call, each field as the server sent it (any JSON type; None where it was missing).

        `arguments` is a piece of JSON text, or a whole object from servers that send one; `extras` are keys of the
        call that the provider wants back; `apart` says that this opens a call, whatever it looks like. Returns
        `ToolCallStarted` once the call's name is known, and
        `ToolCallDelta` for argument text. Check `error` afterwards.
        """
        if self.error is not None or self._finished:
            return []
        place = index if type(index) is int and index >= 0 else None
        if place is not None and place > self._limits.max_tool_index:
            return self._refuse("too_many_tool_calls", f"a tool call has an index above {self._limits.max_tool_index}")
        label, title = as_label(id), as_label(name)
        call = None if apart else self._find(place, label, title, arguments)
        if call is None:
            if len(self._calls) > self._limits.max_tool_index:
                return self._refuse("too_many_tool_calls", f"more than {len(self._calls)} tool calls")
            call = _OpenCall(len(self._calls), place)
            self._calls.append(call)
            if place is not None:
                self._by_index[place] = call
        if label:
            call.label = call.label or label
            # Of two calls that share an id, the second gets one of its own.
            if self._by_id.setdefault(label, call) is call:
                call.id = call.id or label
        call.add_name(title)
        if label and call.repeats(arguments):
            arguments = None
        if extras:
            known = call.extras or {}
            call.extras = {**known, **extras}
            if call.extras != known:
                self._tally.take(extras)
        piece = call.add(arguments)
        if call.size > self._limits.max_tool_arguments:
            limit = self._limits.max_tool_arguments
            return self._refuse("tool_arguments_too_large", f"a tool call has more than {limit} characters")
        if call.shown_id:
            return [ToolCallDelta(call.number, piece, self._choice)] if piece else []
        if call.name:
            return self._start(call)
        if piece:
            self._tally.content += 1
        return []

    def cut_last(self) -> None:
        """The reply reached its token limit inside the last call, which stays invalid even if what came is JSON.

        For wires whose whole replies hold parsed arguments: a cut call looks like one with fewer arguments there.
        """
        if self._calls:
            self._calls[-1].cut = True

    def cut(self, number: int) -> None:
        """The call with this number may be cut: it stays invalid."""
        for call in self._calls[number : number + 1]:  # none beyond a cap
            call.cut = True

    def left_open(self, number: int) -> None:
        """The call with this number was begun and never closed, on a wire that says when a call is whole."""
        for call in self._calls[number : number + 1]:
            call.open = True

    def lose(self) -> None:
        """Argument text came that belongs to no call."""
        self._tally.content += 1
        self._lost = True

    def finish(self, *, whole_turn: bool = True) -> list[Event]:
        """The stream ended in order: one `ToolCallCompleted` for each call, in order of appearance.

        `whole_turn`: the answer ended by itself or for its calls to be run; not at a limit, and not refused.
        Calling it again returns `[]`. Read `tool_calls()` next.
        """
        if self._finished:
            return []
        self._finished = True
        self._whole_turn = whole_turn
        self._lost = self._lost or "" in [call.name for call in self._calls]
        events: list[Event] = []
        for call in self._calls:
            if not call.shown_id:
                events += self._start(call)
            tail = call.end()
            if tail:
                events.append(ToolCallDelta(call.number, tail, self._choice))
            events.append(ToolCallCompleted(call.number, self._whole(call), self._choice))
        return events

    def tool_calls(self) -> tuple[list[ToolCall], list[ToolCall]]:
        """`(runnable, invalid)`, fresh lists of fresh objects. Before `finish()` every call is invalid."""
        return self.tool_calls_and_extras()[:2]

    def tool_calls_and_extras(self) -> tuple[list[ToolCall], list[ToolCall], list[JSONObject | None]]:
        """`(runnable, invalid, extras)`: `tool_calls()`, and what `fragment()` was given for each runnable call."""
        runnable: list[ToolCall] = []
        invalid: list[ToolCall] = []
        extras: list[JSONObject | None] = []
        for call in self._calls:
            tool_call = self._whole(call)
            if tool_call.arguments_error is None:
                runnable.append(tool_call)
                extras.append(call.extras)
            else:
                invalid.append(tool_call)
        return runnable, invalid, extras

    def _find(self, index: int | None, label: str, name: str, arguments: JSON) -> _OpenCall | None:
        """The call that this fragment continues, or None if it opens one."""
        if not self._calls:
            return None
        call = self._calls[-1] if index is None else self._by_index.get(index)
        if label:
            if call is not None and call.label == label and index is not None:
                same: _OpenCall | None = call
            else:
                same = self._by_id.get(label)
            if same is not None:
                # A second call under a known id: only where a new index and a name say so, or a whole call came before.
                opens = bool(name) and (
                    (call is None and same.index is not None)
                    or (name != same.name and same.came_whole())
                    or (isinstance(arguments, str) and same.ends_before(arguments) and not same.repeats(arguments))
                )
                return None if opens else same
            if call is None:
                return None
            # An id nobody has yet is a new call, unless the call at this very place is still waiting for its id ...
            if not call.id and not (name and call.name):
                return call
            # ... or the id changes within a call: what has no name goes on with the one at its place.
            goes_on = not name and call.name and (index is not None or arguments) and not call.ends_before(arguments)
            return call if goes_on else None
        if call is not None and name and call.name:
            if name != call.name:
                # The rest of a name, as long as there are no arguments; without index and id every call comes whole.
                return call if not call.may_be_whole and (index is not None or call.id) else None
            if call.ends_before(arguments):
                return None
        return call

    def _start(self, call: _OpenCall) -> list[Event]:
        number = call.number
        while not call.id and f"call_{number}" in self._by_id:
            number += len(self._calls)
        call.shown_id = call.id or f"call_{number}"
        self._by_id.setdefault(call.shown_id, call)
        events: list[Event] = [ToolCallStarted(call.number, call.shown_id, call.name, self._choice)]
        text = call.text_to_show()
        if text:
            events.append(ToolCallDelta(call.number, text, self._choice))
        return events

    def _whole(self, call: _OpenCall) -> ToolCall:
        text = call.text()
        label = call.id or call.shown_id
        if not self._finished:
            return ToolCall(label, call.name, {}, text, INCOMPLETE)
        arguments, problem = parse_arguments(text, self._limits)
        if problem is None and not call.name:
            arguments, problem = {}, "the call has no name"
        if self._compact and problem is None:
            text = jsontext.dumps(arguments).decode()
        if call.cut:
            arguments, problem = {}, INCOMPLETE
        elif problem is None and not (call.may_be_whole if self._compact else call.has_arguments):
            if call.open or not self._whole_turn:
                problem = INCOMPLETE
            elif self._lost:
                problem = LOST
        return ToolCall(label, call.name, arguments, text, problem)

    def _refuse(self, code: str, message: str) -> list[Event]:
        self.error = LLMProtocolError(message, code=code)
        return []


class _OpenCall:
    """A call in the making. `label` is the id that the server gave it, `id` the same unless another call has it, and
    `shown_id` what `ToolCallStarted` said ("" before it).
    """

    __slots__ = (
        "_given", "_joiner", "_pieces", "cut", "extras", "id", "index", "label", "name", "number", "open", "shown_id",
        "size",
    )  # fmt: skip

    def __init__(self, number: int, index: int | None) -> None:
        self.number = number
        self.extras: JSONObject | None = None
        self.index = index
        self.id = ""
        self.label = ""
        self.shown_id = ""
        self.name = ""
        self.size = 0
        self.cut = False
        self.open = False
        self._pieces: list[str] = []
        self._joiner = SurrogateJoiner()
        self._given: str | None = None

    @property
    def has_arguments(self) -> bool:
        """Whether any argument text came. White space is none, nor is an empty object: text may still follow it."""
        return self._given not in (None, "{}") or not all(map(str.isspace, self._pieces))

    @property
    def may_be_whole(self) -> bool:
        """Whether any arguments came, an empty object included: then its name is whole."""
        return self._given is not None or self.has_arguments

    def add_name(self, name: str) -> None:
        """A name, or the next piece of it. The same again, and more than there was, says it from its beginning."""
        if not name or name == self.name or self.may_be_whole:
            self.name = self.name or name
        else:
            self.name = name if name.startswith(self.name) else self.name + name

    def repeats(self, arguments: JSON) -> bool:
        """Whether these are the arguments that the call has, all of them, again."""
        return isinstance(arguments, str) and arguments in self._pieces[:1] and self.ends_before(arguments)

    def add(self, arguments: JSON) -> str:
        """Take a piece of text or a whole object; returns what is new to show."""
        if arguments is None or arguments == "":
            return ""
        if isinstance(arguments, str):
            piece = self._joiner.join(arguments)
            self._pieces.append(piece)
            self.size += len(piece)
            return piece
        try:
            text = jsontext.dumps(jsontext.well_formed_tree(arguments)).decode()
        except (JSONTextError, RecursionError):
            text = "not JSON"
        if not isinstance(arguments, dict):
            self._pieces.append(text)
            self.size += len(text)
            return text
        # An object is whole: a second one under the same id repeats the first, and text that follows replaces it.
        first = self._given is None and not self._pieces and text != "{}"
        self._given = text
        self.size = max(self.size, len(text))
        return text if first else ""

    def text(self) -> str:
        # An empty object may come first where the arguments begin; they follow it.
        later = self._pieces[1:] if self._pieces[:1] == ["{}"] else self._pieces
        return "".join(later) or self._given or "".join(self._pieces)

    def text_to_show(self) -> str:
        """What came before the call could be shown. An empty object is no text: text may still follow it."""
        return "" if self._given == "{}" and not self._pieces else self.text()

    def end(self) -> str:
        tail = self._joiner.flush()
        if tail:
            self._pieces.append(tail)
        return tail

    def ends_before(self, arguments: JSON) -> bool:
        """Whether a fragment without an id that repeats the name opens a second call of the same tool.

        It does if this call is whole and the fragment brings arguments of its own. Only the first piece is ever
        looked at, so that this stays linear: servers that send no ids send calls whole.
        """
        if isinstance(arguments, dict):
            return self._given is not None or bool(self._pieces)
        if not isinstance(arguments, str) or not arguments.startswith("{"):
            return False
        return self.came_whole()

    def came_whole(self) -> bool:
        """Whether the first piece of the arguments was an object, and is all there is."""
        if self._given is not None:
            return True
        if len(self._pieces) != 1 or not self._pieces[0].endswith("}"):
            return False
        try:
            return isinstance(jsontext.decode(self._pieces[0]), dict)
        except JSONTextError:
            return False
