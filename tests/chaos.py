"""A server in a process of its own that answers each request as its text asks: "<tenant>-<number>|<fault>".

    with chaos_server() as url: ...         python -m tests.chaos     prints its port and serves until its stdin ends

The answer holds the nonce, "<tenant>-<number>". The key must be "sk-<tenant>": another one is answered "CROSSED", so
that a credential in the wrong request shows in the answer.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.wire_server import Gone, Peer, WireServer, forever, hold, read, refusal, reply, reset, streamed

#: No bytes that come a while after a reply: those that arrive between the look at an idle connection and the server's
#: reading of the next request cannot be told from its answer, whatever a client does.
FAULTS = ("surplus", "rst", "cut", "503", "429", "garbage", "page", "silence")


def act(peer: Peer) -> None:
    """One answer."""
    asked, header = json.loads(peer.requests.pop()), peer.heads.pop()
    nonce, _, fault = asked["messages"][-1]["content"].partition("|")
    if f"bearer sk-{nonce.partition('-')[0]}\r" not in (header.decode() + "\r").lower():
        nonce = "CROSSED"
    whole = streamed(nonce[:3], nonce[3:]) if asked.get("stream") else reply(nonce)
    match fault:
        case "surplus":
            peer.send(whole + reply("SURPLUS"))
        case "rst":
            reset()(peer)
        case "cut":
            peer.send(whole[: len(whole) * 2 // 3])
            raise Gone
        case "503":
            peer.send(refusal("503 Busy"))
        case "429":
            peer.send(refusal("429 Too Many", "no", "retry-after-ms: 1"))
        case "garbage":
            peer.send(b"garbage\r\n\r\n")
        case "page":
            peer.send(reply("", content=b"<html>"))
        case "silence":
            hold()(peer)
        case _:
            peer.send(whole)


@contextmanager
def chaos_server() -> Iterator[str]:
    """The base URL of a chaos server that ends with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos"],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.kill()
        process.communicate()


if __name__ == "__main__":
    with WireServer(forever(read(), act)) as server:
        print(server.port, flush=True)
        sys.stdin.read()
