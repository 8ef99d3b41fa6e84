"""Redirects are not followed: whatever a server answers, no byte reaches another host."""

from __future__ import annotations

import socket
from typing import Self

import pytest

from cloud.llm import LLMError, LLMProtocolError
from tests import wire_server as w
from tests.callers import HELLO, MODES, Mode, chat, drain

STATUSES = [
    "300 Multiple",
    "301 Moved",
    "302 Found",
    "303 See Other",
    "305 Use Proxy",
    "307 Temporary",
    "308 Permanent",
]
#: With the second host's address in it; the last ones are what a careless parser would take for it.
PLACES = [
    "Location: http://127.0.0.1:{}/v1/chat/completions?prompt=secret",
    "Location: //127.0.0.1:{}/v1",
    "Content-Location: http://127.0.0.1:{}/",
    "Refresh: 0; url=http://127.0.0.1:{}/",
    'Link: <http://127.0.0.1:{}/>; rel="canonical"',
    'Alt-Svc: http/1.1="127.0.0.1:{}"; ma=3600',
]


class Second:
    """A listener that nobody should ever come to."""

    def __enter__(self) -> Self:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()

    def visited(self) -> bool:
        try:
            self.listener.accept()
        except BlockingIOError:
            return False
        return True


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_no_byte_reaches_the_second_host(mode: Mode, status: str, stream: bool) -> None:
    with Second() as second:
        fields = [PLACES[0].format(second.port)]
        with w.WireServer(w.forever(w.read(), w.send(w.reply("moved", *fields, status=status)))) as server:
            client = mode.client(server.url + "/v1", max_retries=2)

            async def main() -> None:
                with pytest.raises(LLMProtocolError, match="redirects are not followed") as caught:
                    await (drain(client.chat_stream(HELLO)) if stream else chat(client))
                assert caught.value.code == "redirect"
                assert f"127.0.0.1:{second.port}" in str(caught.value), "the user must see where it points"
                assert "prompt=secret" not in str(caught.value)
                assert len(caught.value.attempts) == 1

            mode.run(main)
        assert not second.visited()


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "307 Temporary", "401 No", "503 Later"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_no_field_of_an_answer_leads_elsewhere(mode: Mode, place: str, status: str) -> None:
    with Second() as second:
        reply = w.reply("here", place.format(second.port), "Set-Cookie: a=b; Domain=127.0.0.1", status=status)
        with w.WireServer(w.forever(w.read(), w.send(reply))) as server:
            client = mode.client(server.url + "/v1", max_retries=0)

            async def main() -> None:
                for _ in range(2):
                    try:
                        assert (await chat(client)).content == "here"
                    except LLMError:
                        assert not status.startswith("2")

            mode.run(main)
            assert all(b"cookie" not in head.lower() for peer in server.accepted for head in peer.heads)
        assert not second.visited()
