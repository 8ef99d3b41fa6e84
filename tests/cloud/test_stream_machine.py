"""A stream in any order of pulls, cancels, closes and deaths, against a model of what its user may see.

The law: what was handed over is a prefix of what was sent, `partial.content` is exactly that, a stream that was not read
to the end of a whole reply never looks complete, and the pump is closed or finished when the stream is over.
"""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cloud.llm import ChatResponse, ChatStream, LLMStreamError, TextDelta
from sans_io.errors import LLMError


class ScriptedCall:
    """What a stream looks at of a Call."""

    def __init__(self) -> None:
        self.arrived = ""
        self.whole = False
        self.response: ChatResponse | None = None
        self.error: LLMError | None = None
        self.attempts: tuple[Any, ...] = ()

    @property
    def partial(self) -> ChatResponse | None:
        return self.response or ChatResponse(content=self.arrived, message={"content": self.arrived})


class ScriptedPump:
    """Gives batches of events; the last one is followed by the end of a whole reply, a failure or an interrupt."""

    def __init__(self, batches: list[list[str]], end: str) -> None:
        self.call = ScriptedCall()
        self.batches = list(batches)
        self.end = end
        self.closed = False
        self.abandoned = False
        self.reentrant = False
        self.inside: Any = None

    def advance(self) -> list[Any] | None:
        assert not self.abandoned
        if self.inside is not None:
            inside, self.inside = self.inside, None
            inside()
        call = self.call
        if self.closed or call.response is not None or call.error is not None:
            if call.response is None and call.error is None:
                call.error = LLMStreamError("the call was cancelled", code="cancelled")
            return None
        if self.batches:
            batch = self.batches.pop(0)
            call.arrived += "".join(batch)
            call.whole = not self.batches and self.end == "complete"
            return [TextDelta(text) for text in batch]
        if self.end == "interrupt":
            raise KeyboardInterrupt
        if self.end == "complete":
            call.response = ChatResponse(content=call.arrived, message={"content": call.arrived})
            call.whole = True
        else:
            call.error = LLMStreamError("cut", code="truncated", partial=call.partial)
        return None

    def cancel(self) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True

    def abandon(self) -> None:
        self.abandoned = True


class StreamMachine(RuleBasedStateMachine):
    """One stream; the rules are everything its users may do."""

    @initialize(
        batches=st.lists(st.lists(st.text("ab", min_size=1, max_size=2), min_size=1, max_size=3), max_size=4),
        pulls=st.integers(0, 6),
        end=st.sampled_from(["complete", "failed", "interrupt"]),
    )
    def begin(self, batches: list[list[str]], end: str, pulls: int) -> None:
        """Some pulls come first: most of what may go wrong does so in the middle of a reply."""
        self.pump = ScriptedPump(batches, end)
        self.sent = "".join(text for batch in batches for text in batch)
        self.end = end
        self.seen = ""
        self.over = False
        self.cancelled = ""
        self.raised: list[type[BaseException]] = []
        self.stream = ChatStream(lambda: (self.pump.call, self.pump))  # type: ignore[arg-type,return-value]
        for _ in range(pulls):
            self.pull()

    def take(self, pull: Any) -> Any:
        try:
            return pull()
        except StopIteration:
            self.over = True
        except (LLMStreamError, KeyboardInterrupt) as error:
            self.over = self.over or isinstance(error, LLMStreamError)
            self.raised.append(type(error))  # not the error: its traceback would keep the stream
        return None

    @rule()
    def pull(self) -> None:
        was_over, errors = self.over, len(self.raised)
        text = self.take(lambda: next(self.stream))
        if text is not None:
            assert not was_over
            assert not self.cancelled
            self.seen += text
        if was_over:
            assert len(self.raised) == errors, "a stream that is over stays quiet"

    @rule()
    def drain(self) -> None:
        was_over = self.over
        response = self.take(self.stream.until_done)
        if response is not None:
            assert self.end == "complete"
            assert response.content == self.sent
        if not was_over and not self.cancelled:
            self.seen = self.stream.partial.content
        if not self.raised or self.raised[-1] is not KeyboardInterrupt:
            self.over = True

    @rule()
    def cancel_here(self) -> None:
        self.stream.cancel()
        self.cancelled = self.cancelled or ("" if self.over else "here")

    @rule()
    def cancel_elsewhere(self) -> None:
        thread = threading.Thread(target=self.stream.cancel)
        thread.start()
        thread.join()
        self.cancelled = self.cancelled or ("" if self.over else "elsewhere")

    @precondition(lambda self: not self.over and not self.cancelled)
    @rule()
    def cancelled_inside_a_pull(self) -> None:
        before = len(self.pump.batches)

        def inside() -> None:
            self.stream.cancel()
            self.cancelled = "here"

        self.pump.inside = inside
        text = self.take(lambda: next(self.stream))
        self.pump.inside = None
        if text is not None:
            # There was something left of the batch before.
            assert not self.cancelled
            assert len(self.pump.batches) == before
            self.seen += text

    @rule()
    def close(self) -> None:
        self.stream.close()
        self.over = True

    @invariant()
    def handed_over_is_a_prefix_of_what_was_sent(self) -> None:
        if hasattr(self, "stream"):
            assert self.sent.startswith(self.seen)
            assert self.stream.partial.content == self.seen

    @invariant()
    def only_a_whole_reply_read_to_its_end_looks_complete(self) -> None:
        if not hasattr(self, "stream"):
            return
        try:
            response = self.stream.response
        except RuntimeError:
            return
        assert self.end == "complete"
        assert response.content == self.seen == self.sent

    @invariant()
    def nothing_is_left_running(self) -> None:
        if hasattr(self, "stream") and self.over and self.stream._pump is not None:
            assert self.pump.closed or self.pump.call.response is not None

    def teardown(self) -> None:
        if hasattr(self, "stream"):
            pump, opened, over = self.pump, self.stream._pump is not None, self.stream._ended
            del self.stream
            assert pump.abandoned is (opened and not over)


StreamMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=20)
TestStreamMachine = StreamMachine.TestCase


@pytest.mark.parametrize("who", ["here", "elsewhere"])
def test_whoever_did_not_cancel_is_told_once(who: str) -> None:
    pump = ScriptedPump([["a"], ["b"], ["c"]], "complete")
    stream = ChatStream(lambda: (pump.call, pump))  # type: ignore[arg-type,return-value]
    assert next(stream) == "a"
    if who == "here":
        stream.cancel()
    else:
        thread = threading.Thread(target=stream.cancel)
        thread.start()
        thread.join()
        with pytest.raises(LLMStreamError) as caught:
            next(stream)
        assert caught.value.code == "cancelled"
        assert caught.value.partial is not None
        assert caught.value.partial.content == "a"
    assert next(stream, None) is None
    assert stream.partial.content == "a"
