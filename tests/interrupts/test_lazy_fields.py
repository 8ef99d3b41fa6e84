"""Ctrl-C at any bytecode of reading a reply: the call ends in one way, and what had arrived can still be asked for."""

from __future__ import annotations

from typing import Any

import pytest

from sans_io.calls.actions import Deliver, Release
from sans_io.calls.call import Call
from sans_io.chat.events import TextDelta
from sans_io.http.urls import Origin
from sans_io.policy.deadline import Timers
from sans_io.policy.pool import Route
from sans_io.providers.base import Operation
from tests.interrupting import at, ctrl_c
from tests.interrupts.scene import STRIDE
from transports.testing.simulation.wires import WireName, script
from transports.testing.simulation.world import operations

ORIGIN = Origin("http", "sim.test", 80)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("wire", ["openai", "anthropic", "ollama"])
def test_no_bytecode_of_reading_a_reply_leaves_half_an_end(wire: WireName, stream: bool) -> None:
    operation = operations(wire, ORIGIN).make(0, "n0", stream=stream, large=False)
    said = script(wire, "n0", stream=stream, events=2, tool=True)
    framing = b"Transfer-Encoding: chunked" if stream else b"Content-Length: %d" % said.length
    head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n%b\r\n\r\n" % (said.content_type.encode(), framing)
    reply = [head, *(said.chunks if stream else said.pieces)]
    step = 1
    while True:
        call, delivered = asking(operation, stream), []
        try:
            _, reached = at(step, ctrl_c, lambda call=call, delivered=delivered: read(call, reply, delivered))
        except KeyboardInterrupt:
            reached = True
        if not reached:
            break
        try:
            leave(call)
            assert (call.error is None) != (call.response is None)
            partial = call.partial
            text = "".join(event.text for event in delivered if type(event) is TextDelta)
            assert ("" if partial is None else partial.content).startswith(text)
        except Exception as error:
            error.add_note(f"interrupted before bytecode {step}")
            raise
        step += STRIDE
    assert step > 1000


def asking(operation: Operation, stream: bool) -> Call:
    call = Call(operation, Route(ORIGIN), Timers(total=60.0), now=0.0, stream=stream)
    call.on_acquired(True, 0.0)
    call.on_sent(0.0)
    return call


def read(call: Call, reply: list[bytes], delivered: list[Any]) -> None:
    for piece in reply:
        call.on_data(piece, 0.0)
        action = call.next_action(0.0)
        if isinstance(action, Deliver):
            delivered += action.events
            call.on_delivered(0.0)


def leave(call: Call) -> None:
    """As the pump does it."""
    try:
        call.cancel(0.0)
        if isinstance(call.next_action(0.0), Release):
            call.on_released(0.0)
    except Exception:
        call.break_off()
    if not call.finished:
        call.break_off()
