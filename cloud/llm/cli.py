"""The commands of `cloud-llm`.

Rules of this file:
- Answers go to stdout, everything else to stderr, so that pipes carry answers only.
- Text of a server reaches a terminal through `for_terminal`, and nowhere else.
- A failure leaves as an `LLMError` or a `CommandError`; `__main__` makes one line of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, cast

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from .redact import for_terminal

if TYPE_CHECKING:
    from sans_io.chat.events import PullProgress
    from sans_io.chat.response import ChatResponse

    from .anthropic import AnthropicClient
    from .ollama import OllamaClient
    from .openai import OpenAICompatClient


class CommandError(Exception):
    """A command cannot go on; the message is one line for people."""


class StoppedError(Exception):
    """Ctrl-C; or, with `by_reader`, whoever read our output has gone."""

    def __init__(self, by_reader: bool = False) -> None:
        super().__init__("stopped")
        self.by_reader = by_reader


P = ParamSpec("P")


def stoppable(command: Callable[P, None]) -> Callable[P, None]:
    """What stops a command leaves it as `StoppedError`: what typer makes of it differs from version to version."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except KeyboardInterrupt:
            raise StoppedError from None
        except BrokenPipeError:
            raise StoppedError(by_reader=True) from None

    return run


app: typer.Typer = typer.Typer(
    help="Talk to language models: OpenAI-compatible servers, Anthropic, Ollama.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
ollama: typer.Typer = typer.Typer(help="The models of an Ollama server.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(ollama, name="ollama")

ModelOption = Annotated[str | None, typer.Option("-m", "--model", help="The model; the default is the vendor's.")]
BaseURLOption = Annotated[str | None, typer.Option("--base-url", help="The server, like http://127.0.0.1:8080/v1.")]
ProviderOption = Annotated[
    str, typer.Option("-p", "--provider", help="openai, anthropic, ollama, groq or any other known dialect.")
]
LocalOption = Annotated[bool, typer.Option("--local", help="Start the embedded model on this machine and ask it.")]
JSONOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
InsecureOption = Annotated[bool, typer.Option("--insecure", help="Let the server use a registry without https.")]
HostOption = Annotated[
    str | None, typer.Option("--host", help="The Ollama server; else OLLAMA_HOST, else this machine.")
]


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks (anywhere on the line).")] = False,
) -> None:
    """Talk to language models: OpenAI-compatible servers, Anthropic, Ollama."""
    # Taken out of the line by __main__; declared so that --help shows it.
    del debug


@app.command()
@stoppable
def chat(
    prompt: Annotated[list[str] | None, typer.Argument(help="What to say; text from a pipe is added to it.")] = None,
    model: ModelOption = None,
    system: Annotated[str | None, typer.Option("-s", "--system", help="Instructions for the model.")] = None,
    base_url: BaseURLOption = None,
    provider: ProviderOption = "openai",
    local: LocalOption = False,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", help="The longest answer.")] = None,
    as_json: JSONOption = False,
) -> None:
    """Ask one question and print the answer as it arrives."""
    messages = [{"role": "user", "content": _question(prompt or [])}]
    with _client(provider, base_url, model, local) as client:
        if as_json:
            _print_json(client.chat(messages, system=system, max_tokens=max_tokens))
            return
        wrote = ""
        try:
            with client.chat_stream(messages, system=system, max_tokens=max_tokens) as stream:
                for text in stream:
                    wrote = text
                    sys.stdout.write(for_terminal(text))
                    sys.stdout.flush()
            response = stream.response
        finally:
            if wrote and not wrote.endswith("\n"):
                sys.stdout.write("\n")
                sys.stdout.flush()
    _comment_on(response)


@app.command()
@stoppable
def models(
    base_url: BaseURLOption = None,
    provider: ProviderOption = "openai",
    local: LocalOption = False,
    as_json: JSONOption = False,
) -> None:
    """List the models that a server offers."""
    with _client(provider, base_url, None, local) as client:
        names = client.list_models()
    if as_json:
        typer.echo(json.dumps(names))
        return
    for name in names:
        typer.echo(for_terminal(name))


@app.command()
@stoppable
def probe(
    model: ModelOption = None,
    base_url: BaseURLOption = None,
    provider: ProviderOption = "openai",
    local: LocalOption = False,
    as_json: JSONOption = False,
) -> None:
    """Try a chat, a stream, two turns, a tool call and a JSON schema, and show what works and why the rest does not."""
    from .probe import probe as questions

    all_work, rows = True, []
    with _client(provider, base_url, model, local) as client:
        for found in questions(client):
            all_work = all_work and found.works
            rows.append(found._asdict())
            if not as_json:
                told = for_terminal(found.told).replace("\n", "\n" + " " * 20)
                typer.echo(f"{'works' if found.works else 'fails'}  {found.name:<12} {told}")
    if as_json:
        typer.echo(json.dumps(rows))
    raise typer.Exit(0 if all_work else 1)


@app.command()
@stoppable
def demo(
    base_url: BaseURLOption = None,
    model: ModelOption = None,
) -> None:
    """Show a chat, a stream, a JSON answer and a tool call on blocking code, asyncio and trio."""
    from .demo import main

    arguments = ["--base-url", base_url] if base_url is not None else []
    arguments += ["--model", model] if model is not None else []
    raise typer.Exit(main(arguments))


@app.command("serve-fake")
@stoppable
def serve_fake(
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="The port; 0 takes a free one.")] = 0,
) -> None:
    """Run a scripted server of all three wires, to try clients against. Ctrl-C stops it."""
    from sans_io.providers.registry import WIRES
    from transports.testing.servers.loopback import LoopbackServer, serve

    def ready(server: LoopbackServer) -> None:
        notes = Console(stderr=True, highlight=False, soft_wrap=True)
        notes.print("A scripted server (no model) is listening; Ctrl-C stops it.")
        for wire in WIRES:
            notes.print(f"  {wire:<10} {server.base_url(wire)}", markup=False)
        notes.print(f"Try: cloud-llm chat --base-url {server.base_url('openai')} -m any Hello", markup=False)

    if not host.strip():  # which would be every address of this machine
        raise CommandError("--host is blank")
    try:
        serve(host, port, on_ready=ready)
    except OSError as error:
        raise CommandError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error


@ollama.command("list")
@stoppable
def list_installed(host: HostOption = None, as_json: JSONOption = False) -> None:
    """The models that are installed."""
    names = _ollama(host).list_models()
    if as_json:
        typer.echo(json.dumps(names))
        return
    for name in names:
        typer.echo(for_terminal(name))


@ollama.command()
@stoppable
def pull(
    model_name: Annotated[str, typer.Argument()], host: HostOption = None, insecure: InsecureOption = False
) -> None:
    """Download a model, or what is new of it."""
    with _progress_bars() as show:
        _ollama(host).pull_model(model_name, on_progress=show, insecure=insecure)
    typer.echo(f"{for_terminal(model_name)} is installed.")


@ollama.command()
@stoppable
def ensure(
    model_name: Annotated[str, typer.Argument()], host: HostOption = None, insecure: InsecureOption = False
) -> None:
    """Download a model unless it is installed."""
    with _progress_bars() as show:
        _ollama(host).ensure_model(model_name, on_progress=show, insecure=insecure)
    typer.echo(f"{for_terminal(model_name)} is installed.")


@ollama.command("show")
@stoppable
def show_installed(
    model_name: Annotated[str, typer.Argument()], host: HostOption = None, as_json: JSONOption = False
) -> None:
    """What the server knows of a model."""
    shown = _ollama(host).show_model(model_name)
    if as_json:
        typer.echo(json.dumps(shown.raw))
        return
    details = shown.details
    rows = {
        "family": details.family,
        "size": details.parameter_size,
        "quantization": details.quantization_level,
        "context": "" if shown.context_length is None else f"{shown.context_length} tokens",
        "capabilities": ", ".join(shown.capabilities),
        "system": shown.system,
        "parameters": "; ".join(" ".join(line.split()) for line in shown.parameters.splitlines()),
    }
    for name, text in rows.items():
        if text:
            typer.echo(f"{name:<13} {for_terminal(text)}")


@ollama.command()
@stoppable
def running(host: HostOption = None, as_json: JSONOption = False) -> None:
    """The models that are in memory."""
    models = _ollama(host).running_models()
    if as_json:
        typer.echo(json.dumps([model.raw for model in models]))
        return
    for model in models:
        size = "" if model.size is None else f"{model.size / 1e9:.1f} GB"
        until = "" if model.expires_at is None else f"until {model.expires_at:%Y-%m-%d %H:%M}"
        typer.echo("  ".join(filter(None, (for_terminal(model.name), size, until))))


@ollama.command()
@stoppable
def load(
    model_name: Annotated[str, typer.Argument()],
    host: HostOption = None,
    keep_alive: Annotated[str | None, typer.Option("--keep-alive", help="How long it stays unused, like 10m.")] = None,
) -> None:
    """Load a model into memory."""
    _ollama(host).load_model(model_name, keep_alive=keep_alive)
    typer.echo(f"{for_terminal(model_name)} is in memory.")


@ollama.command()
@stoppable
def unload(model_name: Annotated[str, typer.Argument()], host: HostOption = None) -> None:
    """Let a model go out of memory."""
    _ollama(host).unload_model(model_name)
    typer.echo(f"{for_terminal(model_name)} is unloaded.")


@ollama.command()
@stoppable
def copy(
    source: Annotated[str, typer.Argument()], destination: Annotated[str, typer.Argument()], host: HostOption = None
) -> None:
    """Give a model a second name."""
    _ollama(host).copy_model(source, destination)
    typer.echo(f"{for_terminal(destination)} is {for_terminal(source)}.")


@ollama.command()
@stoppable
def delete(model_name: Annotated[str, typer.Argument()], host: HostOption = None) -> None:
    """Delete a model."""
    _ollama(host).delete_model(model_name)
    typer.echo(f"{for_terminal(model_name)} is deleted.")


# -- what the commands are made of ------------------------------------------------------------------------------------


@contextmanager
def _client(
    provider: str, base_url: str | None, model: str | None, local: bool
) -> Iterator[OpenAICompatClient | AnthropicClient | OllamaClient]:
    if not local:
        yield _remote(provider, base_url, model)
        return
    if base_url is not None:
        raise CommandError("--local and --base-url cannot be used together")
    from .embedded import EmbeddedServer, EmbeddedServerError
    from .openai import OpenAICompatClient

    try:
        with EmbeddedServer() as server:
            yield OpenAICompatClient(model=model, base_url=server.base_url)
    except EmbeddedServerError as error:
        raise CommandError(str(error)) from error


def _remote(
    provider: str, base_url: str | None, model: str | None
) -> OpenAICompatClient | AnthropicClient | OllamaClient:
    from .openai import OpenAICompatClient
    from .providers import client_of

    make = client_of(provider.strip().lower(), awaited=False)
    if make is None:
        return OpenAICompatClient(model=model, base_url=base_url, dialect=provider)  # which says what is known
    return cast("OpenAICompatClient | AnthropicClient | OllamaClient", make(model=model, base_url=base_url))


def _ollama(host: str | None) -> OllamaClient:
    from .ollama import OllamaClient

    return OllamaClient(host=host)


def _question(words: list[str]) -> str:
    """The words of the command line, then what came through a pipe."""
    parts = [" ".join(words).strip()]
    if not sys.stdin.isatty():
        parts.append(sys.stdin.read().strip())
    question = "\n\n".join(part for part in parts if part)
    if not question:
        raise typer.BadParameter("nothing to say: give a prompt, or pipe one in")
    return question


def _print_json(response: ChatResponse) -> None:
    shown: dict[str, Any] = {
        "content": response.content,
        "model": response.model,
        "finish_reason": response.finish_reason,
        "usage": asdict(response.usage),
        "request_id": response.request_id,
    }
    if response.tool_calls:
        shown["tool_calls"] = [{"id": c.id, "name": c.name, "arguments": c.arguments} for c in response.tool_calls]
    typer.echo(json.dumps(shown))


def _comment_on(response: ChatResponse) -> None:
    """Why there is not more, or nothing, to read."""
    if response.finish_reason == "length":
        typer.echo("(cut off at the largest number of tokens)", err=True)
    elif response.refusal:
        typer.echo(f"(refused: {for_terminal(response.refusal)})", err=True)
    elif not response.content:
        typer.echo(f"(no text; finish reason: {for_terminal(response.finish_reason)})", err=True)


@contextmanager
def _progress_bars() -> Iterator[Any]:
    """A function to be called with each `PullProgress`: one bar for each layer, a line for each other step."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    bars: dict[str, TaskID] = {}
    last = ""
    with Progress(*columns, console=Console(stderr=True, highlight=False)) as progress:

        def show(step: PullProgress) -> None:
            nonlocal last
            words = escape(for_terminal(step.status))
            if step.digest is None or step.total is None:
                if words != last:
                    progress.console.print(words)
                    last = words
                return
            bar = bars.get(step.digest)
            if bar is None:
                bar = bars[step.digest] = progress.add_task(words, total=step.total)
            progress.update(bar, total=step.total, completed=step.completed or 0)

        yield show
