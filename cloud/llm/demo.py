"""The main job, shown: a chat, a stream, a JSON answer and a tool call, on blocking sockets, asyncio and trio.

Talks to the embedded model; with a base URL or OPENAI_API_KEY to that server; and where the embedded model does not
run, to a scripted server, which it says.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cloud import close_all_cloud_clients, close_all_cloud_clients_sync

from . import AsyncOpenAICompatClient, LLMError, OpenAICompatClient, config
from .embedded import EmbeddedServer, EmbeddedServerError

if TYPE_CHECKING:
    from rich.console import Console

    from sans_io.chat.response import ChatResponse

CHAT: Final = "Hello! Please introduce yourself in one sentence."
STREAM: Final = "Describe the sea in one sentence."
JSON: Final = "Ana is 30 years old. Give me her name and age as JSON."
TOOL: Final = "Weather in Paris?"
INDENT: Final = 8
SCRIPTED: Final = "No model is behind this answer: it was written down beforehand and is sent word by word."

SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
WEATHER: Final[dict[str, Any]] = {
    "name": "get_weather",
    "description": "Get the weather in a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def weather_so_far() -> list[dict[str, Any]]:
    """Four earlier rounds. A model of 135 million parameters needs to see how it is done; a large one does not mind."""
    history: list[dict[str, Any]] = []
    for number, city in enumerate(("London", "Rome", "Oslo", "Berlin")):
        function = {"name": "get_weather", "arguments": f'{{"city": "{city}"}}'}
        call = {"id": f"call_{number}", "type": "function", "function": function}
        history += [
            user(f"Weather in {city}?"),
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"call_{number}", "content": '{"temp_c": 20}'},
            {"role": "assistant", "content": f"It is 20 C in {city}."},
        ]
    return history


@dataclass(slots=True)
class Target:
    """Where the demo talks to: keyword arguments of a client, and of each call."""

    client: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)


class Report:
    """What one mode did, scene by scene: printed as it happens, kept for the table at the end."""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._begun = time.perf_counter()
        self._column = 0
        self.title = title
        self.answers: list[object] = []
        self.seconds: dict[str, float] = {}
        self.first_text: float = 0.0
        self.cached_tokens: int = 0
        console.print()
        console.rule(f"[bold]{title}", align="left", characters="─")

    def begin(self, scene: DemoScene) -> None:
        self._console.print(f"[bold cyan]{scene.name:<{INDENT}}[/][dim]{scene.prompt}[/]", highlight=False)
        self._begun = time.perf_counter()
        self._column = 0
        self.first_text = 0.0

    def piece(self, text: str) -> None:
        """A piece of a stream, shown when it comes; a line is broken between pieces."""
        if not self.first_text:
            self.first_text = time.perf_counter() - self._begun
        if not self._column or (text.startswith(" ") and self._column + len(text) > self._console.width):
            self._write(("\n" if self._column else "") + " " * INDENT)
            self._column, text = INDENT, text.lstrip(" ")
        self._write(text)
        self._column += len(text)

    def end(self, scene: DemoScene, response: ChatResponse) -> None:
        """A stream was shown piece by piece; of all answers, what must be equal on every mode is kept."""
        took = self.seconds[scene.name] = time.perf_counter() - self._begun
        shown, answer = scene.shown(response)
        self.answers.append(answer)
        self.cached_tokens += response.usage.cached_tokens or 0
        if scene.stream:
            self._write("\n")
        else:
            self._indented(shown, "bold")
        facts = [f"{took:.2f} s", response.finish_reason]
        if self.first_text:
            facts.insert(0, f"first text after {self.first_text:.2f} s")
        if response.total_tokens:
            cached = f" ({response.usage.cached_tokens} cached)" if response.usage.cached_tokens else ""
            facts.append(f"{response.input_tokens}{cached} + {response.output_tokens} tokens")
        if response.attempts:
            facts.append(f"{response.attempts[-1].connection} connection")
        self._indented(" · ".join(facts), "dim")

    def _write(self, text: str) -> None:
        self._console.print(text, end="", style="bold", markup=False, highlight=False, soft_wrap=True)

    def _indented(self, text: str, style: str) -> None:
        from rich.padding import Padding
        from rich.text import Text

        self._console.print(Padding(Text(text, style), (0, 0, 0, INDENT), expand=False))


def text_answer(response: ChatResponse) -> tuple[str, object]:
    return response.content, response.content


def json_answer(response: ChatResponse) -> tuple[str, object]:
    return json.dumps(response.json()), response.json()


def tool_answer(response: ChatResponse) -> tuple[str, object]:
    """How a tool call is shown, and what of it must be equal on every mode."""
    calls = [(call.name, call.arguments) for call in response.tool_calls]
    shown = "; ".join(
        f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})" for name, arguments in calls
    )
    return shown or f"(no tool call: {response.content!r})", calls


@dataclass(frozen=True, slots=True)
class DemoScene:
    """One thing that a client does: the arguments of its call, and how the reply is shown."""

    name: str
    prompt: str
    arguments: dict[str, Any]
    shown: Callable[[ChatResponse], tuple[str, object]]
    stream: bool = False


#: What is asked on every mode.
SCENES: Final = (
    DemoScene("chat", CHAT, {"messages": [user(CHAT)]}, text_answer),
    DemoScene("stream", STREAM, {"messages": [user(STREAM)]}, text_answer, stream=True),
    DemoScene("json", JSON, {"messages": [user(JSON)], "response_format": SCHEMA}, json_answer),
    DemoScene("tool", TOOL, {"messages": [*weather_so_far(), user(TOOL)], "tools": [WEATHER]}, tool_answer),
)


def run_blocking(report: Report, target: Target) -> None:
    """The scenes on the calling thread."""
    with OpenAICompatClient(**target.client) as client:
        for scene in SCENES:
            report.begin(scene)
            arguments = {"max_tokens": 60, **scene.arguments, **target.options}
            if scene.stream:
                stream = client.chat_stream(**arguments)
                for piece in stream:
                    report.piece(piece)
                report.end(scene, stream.response)
            else:
                report.end(scene, client.chat(**arguments))
    close_all_cloud_clients_sync()


async def run_async(report: Report, target: Target) -> None:
    """The scenes in a task: the same text on asyncio and on trio."""
    async with AsyncOpenAICompatClient(**target.client) as client:
        for scene in SCENES:
            report.begin(scene)
            arguments = {"max_tokens": 60, **scene.arguments, **target.options}
            if scene.stream:
                stream = client.chat_stream(**arguments)
                async for piece in stream:
                    report.piece(piece)
                report.end(scene, stream.response)
            else:
                report.end(scene, await client.chat(**arguments))
    await close_all_cloud_clients()


def run_asyncio(report: Report, target: Target) -> None:
    asyncio.run(run_async(report, target))


def run_trio(report: Report, target: Target) -> None:
    import trio

    trio.run(run_async, report, target)


MODES: Final[dict[str, Callable[[Report, Target], None]]] = {
    "blocking": run_blocking,
    "asyncio": run_asyncio,
    "trio": run_trio,
}


@contextmanager
def chosen_target(console: Console, base_url: str | None, model: str | None) -> Iterator[Target]:
    """The server that was asked for, else the embedded model, else the scripted server; says which one it is."""
    base_url, _ = config.place(base_url, "--base-url", "OPENAI_BASE_URL")
    if base_url is not None or os.environ.get("OPENAI_API_KEY"):
        client = {name: value for name, value in (("base_url", base_url), ("model", model)) if value is not None}
        console.print(f"Server: {base_url or 'OpenAI, with OPENAI_API_KEY'}", highlight=False)
        yield Target(client)
        return
    with ExitStack() as stack:
        try:
            server = stack.enter_context(EmbeddedServer(progress=sys.stdout))
            client = {"base_url": server.base_url, "model": server.model}
            note = "Server: llama.cpp on this machine. A very small model: fluent, not truthful."
        except EmbeddedServerError as error:
            client = {"base_url": stack.enter_context(scripted_server()), "model": "scripted"}
            note = f"No model here: {error}.\nServer: SCRIPTED. Its answers are fixed texts; the connections are real."
        console.print(note, markup=False, highlight=False, soft_wrap=True)
        # Temperature 0 repeats itself, so the modes can be compared; a server of the user's choice may refuse it.
        yield Target(client, {"temperature": 0})


@contextmanager
def scripted_server() -> Iterator[str]:
    """A server without a model, for machines on which the embedded one does not run. Gives its base URL."""
    from transports.testing import Ask, FakeLLMServer, LoopbackServer, ScriptedReply, ToolUse

    def reply(ask: Ask) -> ScriptedReply:
        if ask.tools:
            return ScriptedReply(tool_calls=[ToolUse("get_weather", {"city": "Paris"})])
        if ask.schema is not None:
            return ScriptedReply(text='{"name": "Ana", "age": 30}')
        return ScriptedReply(text=re.findall(r" ?\S+", SCRIPTED), delay=0.02)

    with LoopbackServer(FakeLLMServer("openai", reply=reply)) as server:
        yield server.base_url("openai")


def print_table(console: Console, reports: Sequence[Report]) -> None:
    from rich.table import Table

    table = Table("seconds", *(report.title for report in reports), box=None, pad_edge=False, header_style="bold")
    for scene in reports[0].seconds:
        table.add_row(scene, *(f"{report.seconds[scene]:.2f}" for report in reports))
    console.print()
    console.rule("[bold]Together", align="left", characters="─")
    console.print(table)
    cold, warm = (report.cached_tokens for report in (reports[0], reports[-1]))
    if warm > cold:
        console.print(f"[dim]The server read the prompts once and then had {warm - cold} tokens of them cached.[/]")


def run_demo(console: Console, base_url: str | None = None, model: str | None = None) -> int:
    """Run every scene on every mode and print what happened. Returns the exit code."""
    begun = time.perf_counter()
    with chosen_target(console, base_url, model) as target:
        reports = []
        for title, run in MODES.items():
            try:
                report = Report(console, title)
                run(report, target)
            except ImportError as error:
                console.print(f"        left out: {error.name} is not installed", highlight=False)
                continue
            reports.append(report)
        print_table(console, reports)
        same = all(report.answers == reports[0].answers for report in reports)
        if target.options:
            console.print(f"Equal answers on all of them: {'yes' if same else 'NO'}", highlight=False)
        console.print(f"Done in {time.perf_counter() - begun:.1f} s.", highlight=False)
        return 0 if same or not target.options else 1


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m cloud.llm demo`. Exit codes: 0 shown, 1 an error (one line on stderr), 130 interrupted."""
    parser = argparse.ArgumentParser(prog="cloud-llm demo", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--base-url", help="talk to this server instead of the embedded model")
    parser.add_argument("-m", "--model", help="the model to ask for there")
    arguments = parser.parse_args(argv)
    try:
        from rich.console import Console
    except ImportError:
        print("the demo needs the extra 'cli': pip install 'cloud-llm[cli,trio]'", file=sys.stderr)
        return 1
    try:
        # A launcher may have switched Ctrl-C off while Python started; asyncio and trio expect Python's own handler.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return run_demo(Console(), arguments.base_url, arguments.model)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("\nStopped.", file=sys.stderr)
        return 130
    except LLMError as error:
        print(f"\n{type(error).__name__}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
