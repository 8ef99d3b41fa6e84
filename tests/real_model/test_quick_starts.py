"""What a user types first, as a process of its own under `-X dev -W error`: right answers, nothing on stderr.

No script closes anything (`close_all_cloud_clients` is never called), and the asynchronous ones look at their own
descriptors after the loop has ended.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from cloud.llm.embedded import EmbeddedServer
from tests.real_model.conftest import KEYS

ROOT = Path(__file__).parents[2]

COMMON = """
import asyncio, gc, os, sys, threading
from cloud.llm import OpenAICompatClient, AsyncOpenAICompatClient, LLMError

KEY = os.environ["OPENAI_API_KEY"]
messages = [{"role": "user", "content": "Hello!"}]
short = {"max_tokens": 12}
tools = [{"name": "get_weather", "description": "Get weather for a location", "parameters": {
    "type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]}}]

def open_sockets():
    if not os.path.isdir("/proc/self/fd"):
        return 0
    names = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            pass
    return sum(name.startswith("socket:") for name in names)
"""

BLOCKING = {
    "chat": """
        client = OpenAICompatClient(api_key=KEY, model="any")
        response = client.chat([{"role": "user", "content": "Hello!"}], **short)
        print(response.content)
    """,
    "stream": """
        for chunk in OpenAICompatClient().chat_stream(messages, **short):
            print(chunk, end="", flush=True)
    """,
    "tools": """
        response = OpenAICompatClient().chat(messages, tools=tools, **short)
        if response.has_tool_calls:
            for tc in response.tool_calls:
                print(f"Call: {tc.name}({tc.arguments})")
        print(response.finish_reason)
    """,
    "break": """
        for chunk in OpenAICompatClient().chat_stream(messages, max_tokens=200):
            print(chunk)
            break
    """,
    "exception": """
        try:
            for chunk in OpenAICompatClient().chat_stream(messages, max_tokens=200):
                raise ValueError(chunk)
        except ValueError as error:
            print(error)
    """,
    "collected in another thread": """
        held = [OpenAICompatClient().chat_stream(messages, max_tokens=200)]
        print(next(held[0]))
        thread = threading.Thread(target=lambda: (held.clear(), gc.collect()))
        thread.start(); thread.join()
        print(OpenAICompatClient().chat(messages, **short).content)
    """,
    "inside a running loop": """
        async def main():
            return OpenAICompatClient().chat(messages, **short).content
        print(asyncio.run(main()))
    """,
    "error": """
        try:
            OpenAICompatClient(api_key="wrong").chat(messages)
        except LLMError as e:
            print(f"API error: {e.message} (status: {e.status_code})")
    """,
}

#: Bodies of `async def main()`, run on both loops.
IN_A_LOOP = {
    "chat and stream": """
        async with AsyncOpenAICompatClient(api_key=KEY) as client:
            response = await client.chat([{"role": "user", "content": "Hello!"}], **short)
            async for chunk in client.chat_stream(messages, **short):
                print(chunk, end="", flush=True)
    """,
    "two clients": """
        client1 = AsyncOpenAICompatClient(api_key=KEY)
        client2 = AsyncOpenAICompatClient(api_key=KEY[:-1] + "1")
        print((await client1.chat(messages, **short)).content, (await client2.chat(messages, **short)).content)
    """,
    "break": """
        async for chunk in AsyncOpenAICompatClient().chat_stream(messages, max_tokens=200):
            print(chunk)
            break
    """,
    "exception": """
        try:
            async for chunk in AsyncOpenAICompatClient().chat_stream(messages, max_tokens=200):
                raise ValueError(chunk)
        except ValueError as error:
            print(error)
    """,
    "collected in another thread": """
        held = [AsyncOpenAICompatClient().chat_stream(messages, max_tokens=200)]
        print(await anext(held[0]))
        thread = threading.Thread(target=lambda: (held.clear(), gc.collect()))
        thread.start(); thread.join()
        print((await AsyncOpenAICompatClient().chat(messages, **short)).content)
    """,
    "outlives its loop": """
        global left_over
        left_over = AsyncOpenAICompatClient().chat_stream(messages, max_tokens=200)
        print(await anext(left_over))
    """,
    "error": """
        try:
            await AsyncOpenAICompatClient(api_key="wrong").chat(messages)
        except LLMError as e:
            print(f"API error: {e.message} (status: {e.status_code})")
    """,
}

SLOW_STEP = re.compile(r"Executing <.*> took \d+\.\d+ seconds$")
RUNNERS = {"asyncio": "asyncio.run(main())", "trio": "import trio; trio.run(main)"}

AFTERWARDS = """
if globals().pop("left_over", None) is None:
    assert open_sockets() == 0, f"{open_sockets()} sockets are open after the loop has ended"
gc.collect()
RUN_AGAIN
assert open_sockets() == 0, f"{open_sockets()} sockets are open after the second loop has ended"
"""


def run(script: str, server: EmbeddedServer) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "PYTHON", "COVERAGE"))}
    env |= {"OPENAI_API_KEY": KEYS[0], "OPENAI_BASE_URL": server.base_url, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", script]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=100, check=False)
    # In debug mode asyncio reports each step above 0.1 s of wall time, which on a busy machine is any step.
    assert [line for line in done.stderr.splitlines() if not SLOW_STEP.match(line)] == []
    assert done.returncode == 0
    return done.stdout


@pytest.mark.parametrize("name", BLOCKING)
def test_blocking(server: EmbeddedServer, name: str) -> None:
    assert run(COMMON + textwrap.dedent(BLOCKING[name]), server).strip()


@pytest.mark.parametrize("loop", RUNNERS)
@pytest.mark.parametrize("name", IN_A_LOOP)
def test_in_a_loop(server: EmbeddedServer, name: str, loop: str) -> None:
    main = "async def main():\n" + textwrap.indent(textwrap.dedent(IN_A_LOOP[name]), "    ")
    script = "\n".join((COMMON, main, RUNNERS[loop], AFTERWARDS.replace("RUN_AGAIN", RUNNERS[loop])))
    assert run(script, server).strip()
