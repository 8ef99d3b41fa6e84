"""A program of forty lines that streams, tested with the kit's fixtures alone: three planted bugs are found.

The program is a text, so that a bug is a replacement in it; the tests are what its author would have written.
"""

from __future__ import annotations

import logging
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from transports.testing import FakeLLMServer, ScriptedReply, ToolUse

if TYPE_CHECKING:
    from transports.testing.pytest_plugin import MemoryServer

pytest_plugins = ["transports.testing.pytest_plugin"]

APP = '''
import logging

from cloud.llm import LLMError, LLMStreamError, OpenAICompatClient

log = logging.getLogger("app")
TOOLS = [{"type": "function", "function": {"name": "transfer", "parameters": {
    "type": "object", "properties": {"euros": {"type": "integer"}}, "required": ["euros"]}}}]


class Bank:
    """Answers questions as they are typed, and moves money when the model says so."""

    def __init__(self, api_key, transport=None):
        log.info("starting with the key %s...", "*" * 3)
        self.client = OpenAICompatClient(api_key=api_key, base_url="https://llm.test/v1", model="m", transport=transport)
        self.transfers = {}
        self.shown = ""

    def ask(self, question):
        """True: answered to the end. What was shown is in `shown`."""
        messages = [{"role": "user", "content": question}]
        for _ in range(5):
            response = self.turn(messages)
            if response is None:
                return False
            if not response.tool_calls:
                return True
            messages.append(response.message)
            for call in response.tool_calls:
                if call.id not in self.transfers:
                    self.transfers[call.id] = call.arguments["euros"]
                messages.append({"role": "tool", "tool_call_id": call.id, "content": "done"})
        return False

    def turn(self, messages):
        for _ in range(2):
            stream = self.client.chat_stream(messages, tools=TOOLS)
            try:
                for piece in stream:
                    self.shown += piece
                return stream.response
            except LLMStreamError:
                self.shown += " [interrupted] "
            except LLMError as error:
                log.warning("no answer: %s", error)
                return None
        return None
'''

#: name -> (what is right, what is planted instead)
BUGS = {
    "truncation taken for success": (
        '            except LLMStreamError:\n                self.shown += " [interrupted] "\n',
        "            except LLMStreamError as error:\n                return error.partial\n",
    ),
    # Run as soon as its arguments look whole, before the stream has ended; the stream breaks, and it comes again.
    "a tool run twice after a retry": (
        "            try:\n                for piece in stream:\n                    self.shown += piece\n",
        (
            "            arguments = ''\n"
            "            try:\n"
            "                for event in stream.events():\n"
            "                    arguments += getattr(event, 'arguments', '')\n"
            "                    if arguments.endswith('}'):\n"
            "                        self.transfers[len(self.transfers)] = __import__('json').loads(arguments)['euros']\n"
            "                        arguments = ''\n"
        ),
    ),
    "a key in the log": ('"*" * 3)', "api_key)"),
}


def app(bug: str | None) -> ModuleType:
    module = ModuleType("app")
    text = APP
    if bug is not None:
        right, wrong = BUGS[bug]
        assert right in text
        text = text.replace(right, wrong)
    exec(compile(text, "app.py", "exec"), module.__dict__)
    return module


# -- what the author wrote ---------------------------------------------------------------------------------------------

KEY = "sk-live-3fJ8qLm2Zx7v"


def wherever_it_is_cut(llm_transport: MemoryServer, bank, reply: ScriptedReply, question: str) -> None:
    """Cut the first answer after every so many bytes; the server answers whole when it is asked again."""
    for place in range(0, 2000, 40):
        llm_transport.script(reply.with_(cut_after=place), reply, ScriptedReply(text="Done."))
        tried = bank.Bank(KEY, llm_transport.sync)
        answered = tried.ask(question)
        forget_the_rest(llm_transport.server)
        assert answered
        yield tried


def forget_the_rest(server: FakeLLMServer) -> None:
    """Forget what was scripted and not needed: a cut behind the end is no cut."""
    server._script.clear()


def check_truncation(llm_transport, bank) -> None:
    said = ScriptedReply(text=["Yes", ", you may", " NOT."])
    for tried in wherever_it_is_cut(llm_transport, bank, said, "May I?"):
        assert tried.shown.endswith("Yes, you may NOT."), f"half an answer was shown as a whole one: {tried.shown!r}"


def check_transfers(llm_transport, bank) -> None:
    said = ScriptedReply(text=["One moment. "], tool_calls=[ToolUse("transfer", {"euros": 50}, id="call_1")])
    for tried in wherever_it_is_cut(llm_transport, bank, said, "Send 50 euros"):
        assert list(tried.transfers.values()) == [50], f"transferred {tried.transfers}"


def check_log(llm_transport, bank, caplog) -> None:
    with caplog.at_level(logging.DEBUG):
        bank.Bank(KEY, llm_transport.sync).ask("Hello")
    assert KEY not in caplog.text


# -- and what it finds -------------------------------------------------------------------------------------------------


def test_the_sound_program_passes(llm_transport, caplog) -> None:
    assert len(APP.strip().splitlines()) <= 50
    check_truncation(llm_transport, app(None))
    check_transfers(llm_transport, app(None))
    check_log(llm_transport, app(None), caplog)


def test_truncation_taken_for_success_is_found(llm_transport) -> None:
    with pytest.raises(AssertionError, match="half an answer"):
        check_truncation(llm_transport, app("truncation taken for success"))


def test_a_tool_run_twice_is_found(llm_transport) -> None:
    with pytest.raises(AssertionError, match="transferred"):
        check_transfers(llm_transport, app("a tool run twice after a retry"))


def test_a_key_in_the_log_is_found(llm_transport, caplog) -> None:
    with pytest.raises(AssertionError):
        check_log(llm_transport, app("a key in the log"), caplog)
