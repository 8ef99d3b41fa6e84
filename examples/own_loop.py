"""The core in a loop of your own: any number of calls at once in one thread, with nothing but `selectors`.

    python examples/own_loop.py http://127.0.0.1:8080/v1 MODEL "Hello!" "Write one sentence about the sea."

A Call says what to do next; `attempt` tries it without blocking and answers. What would block is tried again when the
selector says so, and fails when its deadline has passed. For https, `transports.tls` has a TLS layer without sockets.
"""

import errno
import os
import selectors
import socket
import sys
from time import monotonic

from sans_io.calls.actions import Acquire, Action, Connect, Deliver, Receive, Release, Send, Tcp, Wait
from sans_io.calls.call import Call
from sans_io.chat.events import TextDelta
from sans_io.chat.messages import chat_request
from sans_io.http.secret import Secret
from sans_io.http.urls import parse_base_url
from sans_io.policy.deadline import Timers
from sans_io.policy.pool import Route
from sans_io.providers.openai_chat.codec import OpenAICodec
from sans_io.providers.registry import DIALECTS


class Conversation:
    """One call, the socket of its present attempt, how much of a Send went out, and the text so far."""

    sock: socket.socket

    def __init__(self, call: Call) -> None:
        self.call, self.sent, self.text = call, 0, ""

    def attempt(self, action: Action, now: float) -> None:
        """Do one action and answer it. BlockingIOError: not yet."""
        match action:
            case Acquire():  # no pool here: each attempt has a connection of its own
                self.sock = socket.socket()
                self.sock.setblocking(False)
                self.call.on_acquired(False, now)
            case Connect(steps=(Tcp(host=host, port=port),)):
                code = self.sock.connect_ex((host, port))  # asking again tells how it went
                if code not in (0, errno.EISCONN):
                    raise OSError(code, os.strerror(code))
                self.call.on_connected(now)
            case Send(data=data):
                self.sent += self.sock.send(data[self.sent :])
                if self.sent == len(data):
                    self.sent = 0
                    self.call.on_sent(now)
            case Receive(max_bytes=max_bytes):
                data = self.sock.recv(max_bytes)
                self.call.on_data(data, now) if data else self.call.on_eof(now)
            case Deliver(events=events):
                self.text += "".join(event.text for event in events if isinstance(event, TextDelta))
                self.call.on_delivered(now)
            case Wait(until=until):
                if now < until:
                    raise BlockingIOError
                self.call.on_waited(now)
            case Release():
                self.sock.close()
                self.call.on_released(now)
            case _:
                self.call.on_error("local", now, f"this loop cannot do {action!r}")


def advance(conversation: Conversation, selector: selectors.BaseSelector) -> float | None:
    """Do all that can be done now. Registers what to wait for and returns until when; None: the call is finished."""
    call = conversation.call
    while (action := call.next_action(now := monotonic())) is not None:
        try:
            conversation.attempt(action, now)
        except BlockingIOError:
            until: float = action.until if isinstance(action, Wait) else action.deadline
            if now < until:
                if not isinstance(action, Wait):
                    reading = isinstance(action, Receive)
                    selector.register(conversation.sock, selectors.EVENT_READ if reading else selectors.EVENT_WRITE)
                return until
            call.on_error("timeout", now)
        except OSError as error:
            call.on_error("refused" if isinstance(action, Connect) else "reset", now, str(error), error)
    return None


def run(conversations: list[Conversation]) -> None:
    """The loop: advance everybody, then sleep until a socket is ready or the next deadline has come."""
    while True:
        with selectors.DefaultSelector() as selector:
            untils = [until for each in conversations if (until := advance(each, selector)) is not None]
            if not untils:
                return
            selector.select(max(0.0, min(untils) - monotonic()))


def main(base_url: str, model: str, *prompts: str) -> int:
    base = parse_base_url(base_url)
    key = os.environ.get("OPENAI_API_KEY")
    codec = OpenAICodec(base, DIALECTS["generic"], credential=Secret(key) if key else None)
    conversations = []
    for seed, prompt in enumerate(prompts or ("Hello!",)):
        chat = chat_request([{"role": "user", "content": prompt}], model, max_tokens=40, stream=True)
        call = Call(codec.operation(chat), Route(base.origin), Timers(), now=monotonic(), seed=seed, stream=True)
        conversations.append(Conversation(call))
    run(conversations)
    for conversation in conversations:
        print(conversation.call.error or conversation.text)
    return any(conversation.call.error for conversation in conversations)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
