"""What a call promises, side by side: this library and the vendors' SDKs and gateways that are installed here.

    python bench/promises.py                 prints the table (Markdown); exit 1 if a promise of ours is not kept

Every row is one fault on a loopback server that sends bytes exactly as written; what each client makes of it is printed
as it is: a value, an error's type, or the seconds it took. Rows 1 to 3 are run against this library only.
"""

from __future__ import annotations

import asyncio
import gzip
import importlib.util
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.wire_server import (
    DONE,
    LAST,
    ROLE,
    STREAM_HEAD,
    Script,
    WireServer,
    body,
    chunk,
    drip,
    event,
    forever,
    head,
    mark,
    read,
    refusal,
    reply,
    said,
    send,
    wait_go,
)  # fmt: skip

#: Importing litellm fetches a table of prices unless told not to.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
KEY = "sk-canary-4711"
ASK = [{"role": "user", "content": "hello"}]
#: A client that has not come back after this long counts as hanging.
PATIENCE = 6.0
MESSAGE = json.dumps(
    {"id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn", "stop_sequence": None,
     "content": [{"type": "text", "text": "fine"}], "usage": {"input_tokens": 1, "output_tokens": 1}}
).encode()  # fmt: skip
BEGUN = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","type":"message","role":"assistant",'
    b'"model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}}\n\n'
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n'
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}\n\n'
)


class Peer:
    """One client library: `chat(url, ...)` and `stream(url, ...)` give text, `client(url, ...)` the object itself."""

    name: str
    wire = "openai"

    def version(self) -> str:
        return version(self.name)

    def client(self, url: str, asynchronous: bool = False, **options: Any) -> Any:
        raise LookupError("no client object")

    def chat(self, url: str, timeout: float = PATIENCE) -> Any:
        raise LookupError

    def stream(self, url: str, timeout: float = PATIENCE) -> str:
        raise LookupError

    async def chat_with(self, client: Any) -> Any:
        raise LookupError("no client object")


class Ours(Peer):
    name = "cloud-llm"

    def version(self) -> str:
        return "this checkout"

    def client(self, url: str, asynchronous: bool = False, **options: Any) -> Any:
        from cloud.llm import AsyncOpenAICompatClient, OpenAICompatClient

        kind = AsyncOpenAICompatClient if asynchronous else OpenAICompatClient
        if options.pop("one_seat", False):
            from transports.anyio_async import AsyncioTransport

            options["transport"] = AsyncioTransport(max_connections=1)
        return kind(api_key=KEY, base_url=url + "/v1", model="m", max_retries=0, **options)

    def chat(self, url: str, timeout: float = PATIENCE) -> Any:
        return self.client(url, timeout=timeout).chat(ASK).content

    def stream(self, url: str, timeout: float = PATIENCE) -> str:
        stream = self.client(url, timeout=timeout).chat_stream(ASK)
        text = "".join(stream)
        calls = [(call.name, call.arguments) for call in stream.response.tool_calls]
        return f"{text!r} {calls}" if calls else repr(text)

    async def chat_with(self, client: Any) -> Any:
        return (await client.chat(ASK)).content


class OpenAISDK(Peer):
    name = "openai"

    def client(self, url: str, asynchronous: bool = False, **options: Any) -> Any:
        import openai

        if options.pop("one_seat", False):
            options["http_client"] = _one_seat(openai)
        return (openai.AsyncOpenAI if asynchronous else openai.OpenAI)(
            api_key=KEY, base_url=url + "/v1", max_retries=0, **options
        )

    def chat(self, url: str, timeout: float = PATIENCE) -> Any:
        return _content(self.client(url, timeout=timeout).chat.completions.create(model="m", messages=ASK))

    def stream(self, url: str, timeout: float = PATIENCE) -> str:
        chunks = self.client(url, timeout=timeout).chat.completions.create(model="m", messages=ASK, stream=True)
        return _joined(chunks)

    async def chat_with(self, client: Any) -> Any:
        return _content(await client.chat.completions.create(model="m", messages=ASK))


class AnthropicSDK(Peer):
    name = "anthropic"
    wire = "anthropic"

    def client(self, url: str, asynchronous: bool = False, **options: Any) -> Any:
        import anthropic

        if options.pop("one_seat", False):
            options["http_client"] = _one_seat(anthropic)
        return (anthropic.AsyncAnthropic if asynchronous else anthropic.Anthropic)(
            api_key=KEY, base_url=url, max_retries=0, **options
        )

    def chat(self, url: str, timeout: float = PATIENCE) -> Any:
        message = self.client(url, timeout=timeout).messages.create(model="m", messages=ASK, max_tokens=9)
        return message.content[0].text if getattr(message, "content", None) else message

    def stream(self, url: str, timeout: float = PATIENCE) -> str:
        with self.client(url, timeout=timeout).messages.stream(model="m", messages=ASK, max_tokens=9) as stream:
            return repr("".join(stream.text_stream))

    async def chat_with(self, client: Any) -> Any:
        return (await client.messages.create(model="m", messages=ASK, max_tokens=9)).content[0].text


class LiteLLM(Peer):
    name = "litellm"

    def _call(self, url: str, timeout: float, **options: Any) -> Any:
        import litellm

        litellm.suppress_debug_info = True  # it prints hints between our lines
        return litellm.completion(
            model="openai/m", messages=ASK, api_key=KEY, api_base=url + "/v1", timeout=timeout, max_retries=0, **options
        )

    def chat(self, url: str, timeout: float = PATIENCE) -> Any:
        return _content(self._call(url, timeout))

    def stream(self, url: str, timeout: float = PATIENCE) -> str:
        return _joined(self._call(url, timeout, stream=True))

    async def chat_with(self, client: Any) -> Any:
        import litellm

        return _content(
            await litellm.acompletion(
                model="openai/m", messages=ASK, api_key=KEY, api_base=client + "/v1", max_retries=0
            )
        )

    def client(self, url: str, asynchronous: bool = False, **options: Any) -> Any:
        if options:
            raise LookupError("no client object")
        return url


def _one_seat(sdk: Any) -> Any:
    """The SDK's own asynchronous HTTP client with a pool of one connection."""
    name = next(base.__module__.partition(".")[0] for base in sdk.DefaultAsyncHttpxClient.__mro__[1:])
    library = importlib.import_module(name)
    return library.AsyncClient(limits=library.Limits(max_connections=1), timeout=2.0)


def _content(completion: Any) -> Any:
    choices = getattr(completion, "choices", None)
    return choices[0].message.content if choices else completion


def _joined(chunks: Any) -> str:
    text, finish, calls = "", None, {}
    for each in chunks:
        for choice in each.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
            for call in choice.delta.tool_calls or ():
                kept = calls.setdefault(call.index, [call.function.name, ""])
                kept[1] += call.function.arguments or ""
    if calls:
        return f"{text!r} {[tuple(call) for call in calls.values()]}"
    return f"{text!r} finish_reason={finish!r}"


# -- rows: each gives what happened, in a few words --------------------------------------------------------------------------


def _whole(peer: Peer) -> bytes:
    return reply(content=MESSAGE if peer.wire == "anthropic" else body())


def _with(script: Script, ask: Callable[[str], Any]) -> str:
    with WireServer(script) as server:
        return _outcome(lambda: ask(server.url))


def _outcome(ask: Callable[[], Any]) -> str:
    """The value, the error or "hangs"; with the time where that is the point."""
    found: list[str] = []

    def work() -> None:
        try:
            value = ask()
            found.append(_short(value if isinstance(value, str) else repr(value)))
        except BaseException as error:
            found.append(
                f"{type(error).__name__}" + (f" ({_short(str(error))})" if isinstance(error, LookupError) else "")
            )

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PATIENCE + 2.0)
    return found[0] if found else f"hangs (> {PATIENCE + 2:.0f} s)"


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def again(*steps: Any) -> Script:
    return forever(read(), *steps)


def row_4(peer: Peer) -> str:
    cut = chunk(BEGUN) if peer.wire == "anthropic" else ROLE + said("a")
    return _with(again(send(STREAM_HEAD + cut + LAST)), peer.stream)


def row_5(peer: Peer) -> str:
    page = head("200 OK", "Content-Length: 17", type_="text/html") + b"<html>Busy</html>"
    return _with(again(send(page)), peer.stream)


def row_6(peer: Peer) -> str:
    kinds = {"HTML": b"<html></html>", "null": b"null", "[]": b"[]", "error": b'{"error": {"message": "no"}}'}
    return "; ".join(f"{name}: {_with(again(send(reply(content=data))), peer.chat)}" for name, data in kinds.items())


def row_7(peer: Peer) -> str:
    kinds = {
        "deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        "digits": b'{"a": ' + b"9" * 5_000 + b"}",
        "UTF-8": b'"\xff"',
    }
    return "; ".join(f"{name}: {_with(again(send(reply(content=data))), peer.chat)}" for name, data in kinds.items())


def row_8(peer: Peer) -> str:
    def timed(ask: Callable[[str, float], Any]) -> Callable[[str], str]:
        def run(url: str) -> str:
            began = perf_counter()
            try:
                ask(url, 1.0)
            except Exception as error:
                return f"{type(error).__name__} after {perf_counter() - began:.2f} s"
            return f"an answer after {perf_counter() - began:.2f} s"

        return run

    whole = (send(head("200 OK", "Content-Length: 9000")), drip(b" " * 9000, 0.05))
    comments = (send(STREAM_HEAD), drip(chunk(b": ping\n\n") * 900, 0.05, 13))
    return "; ".join(
        (
            f"head: {_with((read(), drip(head('200 OK', 'X: ' + 'x' * 900), 0.05)), timed(peer.chat))}",
            f"body: {_with((read(), *whole), timed(peer.chat))}",
            f"comments: {_with((read(), *comments), timed(peer.stream))}",
        )
    )


def row_9(peer: Peer) -> str:
    bomb = gzip.compress(b'"' + b" " * (64 << 20) + b'"', 9)
    fields = (f"Content-Length: {len(bomb)}", "Content-Encoding: gzip")
    script = again(send(head("200 OK", *fields) + bomb))
    with WireServer(script) as server:
        ran = subprocess.run(
            [sys.executable, __file__, "--bomb", peer.name, server.url], capture_output=True, text=True, check=False
        )
    return ran.stdout.strip() or f"died: {ran.stderr[-60:]!r}"


def row_10(peer: Peer) -> str:
    lines = b"data: x\n" * (1 << 18)  # 2 MiB on the wire

    def timed(url: str) -> str:
        began = perf_counter()
        try:
            peer.stream(url)
        except Exception as error:
            return f"{perf_counter() - began:.2f} s, {type(error).__name__}"
        return f"{perf_counter() - began:.2f} s"

    return _with(again(send(STREAM_HEAD + chunk(lines) + LAST)), timed)


def row_11(peer: Peer) -> str:
    with WireServer(again(send(_whole(peer)))) as other:
        place = f"Location: {other.url}/v1/elsewhere"
        seen = _with(again(send(reply("", place, status="307 Temporary Redirect", content=b""))), peer.chat)
        return f"{seen}; prompt sent on: {'yes' if other.requests else 'no'}"


def row_12(peer: Peer) -> str:
    try:
        client = peer.client("http://127.0.0.1:9")
    except LookupError as error:
        return str(error)
    if isinstance(client, str):
        return "no client object"
    shown = []
    with WireServer(again(send(refusal("401 Unauthorized")))) as server:
        try:
            peer.chat(server.url)
        except Exception as error:
            try:
                shown.append(f"pickled error: {'key inside' if KEY.encode() in pickle.dumps(error) else 'no key'}")
            except Exception as refused:
                shown.append(f"pickled error: {type(refused).__name__}")
    shown.append(f"vars(client): {'key inside' if KEY in repr(vars(client)) else 'no key'}")
    return "; ".join(shown)


def row_13(peer: Peer) -> str:
    with WireServer(again(send(_whole(peer)))) as server:
        client = peer.client(server.url, asynchronous=True)

        def twice(_: str) -> str:
            asyncio.run(_as_coroutine(peer.chat_with(client)))
            return asyncio.run(_as_coroutine(peer.chat_with(client)))

        return _outcome(lambda: twice(""))


async def _as_coroutine(awaitable: Any) -> Any:
    return await awaitable


def row_14(peer: Peer) -> str:
    if peer.wire == "anthropic":
        return "not on this wire"

    def call(name: str, arguments: str, call_id: str) -> bytes:
        function = {"name": name, "arguments": arguments}
        delta = {"tool_calls": [{"index": 0, "id": call_id, "type": "function", "function": function}]}
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        return chunk(
            b"data: %s\n\n"
            % json.dumps(
                {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
            ).encode()
        )

    both = call("add", '{"a":1}', "call_a") + call("mul", '{"b":2}', "call_b")
    return _with(again(send(STREAM_HEAD + ROLE + both + chunk(event(finish="tool_calls")) + DONE + LAST)), peer.stream)


def row_15(peer: Peer) -> str:
    def ask(url: str) -> str:
        try:
            peer.chat(url)
        except Exception as error:
            return f"{type(error).__name__}.retry_after = {getattr(error, 'retry_after', 'missing')}"
        return "no error"

    return _with(again(send(refusal("429 Too Many", "slow down", "Retry-After: 7"))), ask)


def row_16(peer: Peer) -> str:
    """Five calls cancelled at each of their first suspensions over a pool of one; then one that should work."""

    async def main(url: str) -> Any:
        client = peer.client(url, asynchronous=True, one_seat=True)
        for turns in range(1, 61):
            task = asyncio.ensure_future(_as_coroutine(peer.chat_with(client)))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return await asyncio.wait_for(_as_coroutine(peer.chat_with(client)), 4.0)

    try:
        return _with(again(send(_whole(peer))), lambda url: asyncio.run(main(url)))
    except LookupError as error:
        return str(error)


def own_1(peer: Peer) -> str:
    with WireServer((read(), send(reply("yours") + reply("another's")))) as server:
        client = peer.client(server.url)
        return f"{client.chat(ASK).content}, {client.chat(ASK).content}"


def own_2(peer: Peer) -> str:
    with WireServer((read(), send(reply("yours")), wait_go(), send(reply("nobody's")), mark())) as server:
        client = peer.client(server.url)
        first = client.chat(ASK).content
        server.heal()
        server.go.set()
        server.reached.acquire(timeout=5.0)
        threading.Event().wait(0.05)
        return f"{first}, {client.chat(ASK).content}"


def own_3(peer: Peer) -> str:
    def echo(each: Any) -> None:
        each.send(reply(json.loads(each.requests[-1])["messages"][0]["content"]))

    with WireServer(again(echo)) as server:
        client = peer.client(server.url)
        client.chat(ASK)
        children = []
        for number in range(6):
            child = os.fork()
            if child == 0:
                asked = [f"{number}.{each}" for each in range(10)]
                wrong = [a for a in asked if client.chat([{"role": "user", "content": a}]).content != a]
                os._exit(len(wrong))
            children.append(child)
        wrong = sum(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)
        return f"{wrong} of 60 wrong"


OWN: dict[int, tuple[str, Callable[[Peer], str], str]] = {
    1: ("surplus bytes after a reply", own_1, "yours, yours"),
    2: ("an unsolicited reply on an idle connection", own_2, "yours, fine"),
    3: ("fork with a pooled connection", own_3, "0 of 60 wrong"),
}
ROWS: dict[int, tuple[str, Callable[[Peer], str], Callable[[str], bool]]] = {
    4: ("a stream ends in order without its end", row_4, lambda seen: seen == "LLMStreamError"),
    5: ("stream=True, 200 with a page", row_5, lambda seen: seen == "LLMProtocolError"),
    6: ("200 with no answer in it", row_6, lambda seen: seen.count("LLM") == 4),
    7: ("hostile JSON", row_7, lambda seen: seen.count("LLMProtocolError") == 3),
    8: ("timeout=1 while bytes drip in", row_8, lambda seen: seen.count("LLMTimeoutError after 1.") == 3),
    9: ("a gzip bomb of 64 MiB", row_9, lambda seen: "LLMProtocolError" in seen),
    10: ("2 MiB of data lines without an end", row_10, lambda seen: "LLM" in seen),
    11: ("307 to another host", row_11, lambda seen: seen.endswith("no")),
    12: ("where the key shows", row_12, lambda seen: "key inside" not in seen),
    13: ("one asynchronous client, two asyncio.run", row_13, lambda seen: seen == "fine"),
    14: ("two tool calls, both index 0", row_14, lambda seen: "'add'" in seen and "'mul'" in seen),
    15: ("429 with Retry-After: 7", row_15, lambda seen: "7.0" in seen),
    16: ("60 cancelled calls over one connection, then one more", row_16, lambda seen: seen == "fine"),
}
PEERS: tuple[type[Peer], ...] = (Ours, OpenAISDK, AnthropicSDK, LiteLLM)


def _bomb(name: str, url: str) -> None:
    """In a process of its own: the memory that reading the bomb takes."""
    import resource

    peer = next(kind for kind in PEERS if kind.name == name)()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seen = _outcome(lambda: peer.chat(url))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"{seen}, +{grown // 1024} MiB")


def main() -> int:
    peers = [kind() for kind in PEERS if kind is Ours or importlib.util.find_spec(kind.name) is not None]
    print("| # | fault | this checkout |\n|---|---|---|")
    kept = True
    for number, (what, own, wanted) in OWN.items():
        seen = _outcome(lambda own=own: own(peers[0]))
        kept &= seen == wanted
        print(f"| {number} | {what} | {seen} |", flush=True)
    print("\n| # | fault | " + " | ".join(f"{peer.name} ({peer.version()})" for peer in peers) + " |")
    print("|---|---|" + "---|" * len(peers))
    for number, (what, row, holds) in ROWS.items():
        cells = []
        for peer in peers:
            try:
                cells.append(row(peer))
            except Exception as error:
                cells.append(f"{type(error).__name__}: {_short(str(error))}")
        if not holds(cells[0]):
            kept = False
            cells[0] += " **not kept**"
        print(f"| {number} | {what} | " + " | ".join(cell.replace("|", "/") for cell in cells) + " |", flush=True)
    return 0 if kept else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--bomb"]:
        _bomb(sys.argv[2], sys.argv[3])
    else:
        sys.exit(main())
