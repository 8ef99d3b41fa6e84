"""Clients for Ollama's native API, its model management included."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, Never, Self, TypedDict, Unpack

from sans_io.errors import LLMBadRequestError, LLMConnectionError, LLMNotFoundError, LLMTimeoutError
from sans_io.records import replace
from transports.loading import need, need_here

from . import config
from .chatting import ChatClient
from .credentials import checked_key, forgetful
from .options import ClientOptions, documented, documented_constructor
from .single_flight import AsyncPulls, SyncPulls, let_others_run
from .sync_async import AsyncClient, SyncClient

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from types import ModuleType

    from sans_io.chat.events import PullProgress
    from sans_io.chat.response import ChatResponse
    from sans_io.http.http11 import HTTPRequest
    from sans_io.http.secret import Secret
    from sans_io.http.urls import BaseURL
    from sans_io.limits import Limits
    from sans_io.providers.base import Operation
    from sans_io.providers.ollama.codec import OllamaCodec

    from .chatting import Choosing, Messages, System, Tools
    from .client import Job
    from .credentials import AsyncKey
    from .ollama_models import FileContent, ModelInfo, RunningModel
    from .options import CallOptions
    from .streams import AsyncChatStream, ChatStream

    OnProgress = Callable[[PullProgress], object]
    Files = Mapping[str, str | os.PathLike[str]]


class OllamaOptions(ClientOptions, total=False):
    """The arguments of the constructor, as `with_options()` takes them."""

    api_key: AsyncKey
    model: str | None
    base_url: str | None
    host: str | None


class CreateOptions(TypedDict, total=False):
    """What `create_model()` takes by keyword, each optional."""

    files: Files | None
    adapters: Files | None
    template: str | None
    system: str | None
    parameters: Mapping[str, Any] | None
    messages: Messages | None
    license: str | Sequence[str] | None
    quantize: str | None


class _Ollama(ChatClient["OllamaCodec"]):
    provider: ClassVar[str] = "ollama"

    @forgetful
    @documented_constructor
    def __init__(
        self,
        *positional: Never,
        api_key: AsyncKey = None,
        model: str | None = None,
        host: str | None = None,
        base_url: str | None = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        """All by keyword. `host` (or `base_url`, or OLLAMA_HOST) is written as Ollama's own client takes it: "host",
        "host:port", a URL; without any it is port 11434 of this machine. A key (or OLLAMA_API_KEY) is for ollama.com
        and proxies only. `model` is the default of each call.
        """
        if positional:  # by the official client's habit a server, which would be a key here
            raise TypeError(
                f"{type(self).__name__}() takes no positional arguments: a server goes into host='http://...:11434', "
                "a model into model='...'"
            )
        settings = self._settings(options)
        config.check_place(host, "host")
        if host is not None and base_url is not None:
            raise LLMBadRequestError("give host or base_url, not both: they mean the same", code="invalid_argument")
        given, what = (base_url, "base_url") if host is None else (host, "host")
        found, what = config.place(given, what, "OLLAMA_HOST")
        place = _place(found or "", what)
        key, variable = checked_key(api_key, ("OLLAMA_API_KEY",))
        self._configure(
            settings,
            base_url=place,
            key=key,
            key_variable=variable,
            model=model,
            default_model=config.DEFAULT_OLLAMA_MODEL,
        )

    @forgetful
    def with_options(self, **changes: Unpack[OllamaOptions]) -> Self:
        """A client of the same class with these constructor arguments changed; it shares pool and retry budget.

        Everything else stays as it is, the key included; one that was read from the environment is read again where the
        change leads to another vendor. Raises what the constructor raises.
        """
        if "host" in changes and "base_url" not in changes:
            changes["base_url"] = changes.pop("host")
        return self._with_options(changes)

    @documented("ollama")
    def build_request(
        self,
        messages: Messages,
        model: str | None = None,
        system: System | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        tools: Tools | None = None,
        tool_choice: Choosing | None = None,
        *,
        stream: bool = False,
        **options: Unpack[CallOptions],
    ) -> HTTPRequest:
        """The request that `chat()` would send (with `stream`: `chat_stream()`); its repr shows no key."""
        job = self._chat(
            "build_request", stream, messages, model, system, temperature, max_tokens, tools, tool_choice, options
        )
        return self._request_of(job)

    def _new_codec(self, key: Secret | None, limits: Limits) -> OllamaCodec:
        need("sans_io.providers.ollama.codec")
        from sans_io.providers.ollama.codec import OllamaCodec

        return OllamaCodec(self._base_url, credential=key, headers=self._headers, limits=limits)

    def _arguments(self) -> dict[str, Any]:
        return {}

    def _probe(self) -> Job[OllamaCodec]:
        return self._job(
            lambda codec: codec.version_operation(), timers=config.probe_timers(self._timeout), max_retries=0
        )

    def _pull(self, model_name: str, insecure: bool) -> tuple[Job[OllamaCodec], Hashable]:
        """The download of a model, and what makes it the same as another client's."""
        names = _names()
        name = names.full_model_name(names.checked_name(model_name))
        job = self._progress(lambda codec: codec.pull_operation(name, insecure))
        plain = name.lower().startswith("http://")  # which a server refuses unless it may be insecure
        return job, (str(self._base_url), names.name_key(name), insecure, plain)

    def _progress(self, build: Callable[[OllamaCodec], Operation]) -> Job[OllamaCodec]:
        return self._job(build, stream=True, timers=config.progress_timers(self._timeout))

    def _loading(self, model_name: str, keep_alive: object, options: object) -> Job[OllamaCodec]:
        if not str(keep_alive).strip("0.hms"):  # 0, "0", "0s", "0h0m"
            raise LLMBadRequestError(
                "keep_alive=0 would unload the model at once: call unload_model() instead", code="invalid_argument"
            )
        return self._job(lambda codec: _management().load(codec, model_name, keep_alive, options))

    def _deletion(self, model_name: str) -> Job[OllamaCodec]:
        """Not tried again where it may have happened: the second attempt would not find the model."""
        job = self._job(lambda codec: _management().delete(codec, model_name))
        return replace(job, retry=replace(job.retry, retry_ambiguous=False))

    def _creation(
        self, model_name: str, from_: str | None, options: CreateOptions, digests: Mapping[os.PathLike[str], str] | None
    ) -> Job[OllamaCodec]:
        """`digests` None: only to check the arguments, before anything is uploaded."""
        if not options.keys() <= CreateOptions.__annotations__.keys():
            from .hints import unknown_option

            unknown = next(name for name in options if name not in CreateOptions.__annotations__)
            raise unknown_option("create_model", unknown, CreateOptions.__annotations__)

        def digest(file: object) -> object:
            if not isinstance(file, os.PathLike):
                return file
            return _UNKNOWN_DIGEST if digests is None else digests[file]

        given: dict[str, Any] = dict(options)
        for kind in ("files", "adapters"):
            if isinstance(given.get(kind), Mapping):
                given[kind] = {name: digest(file) for name, file in given[kind].items()}
        return self._progress(lambda codec: _management().create(codec, model_name, from_, **given))

    def _blob_exists(self, content: FileContent) -> Job[OllamaCodec]:
        return self._job(lambda codec: _management().has_blob(codec, content.digest))

    def _upload(self, content: FileContent) -> Job[OllamaCodec]:
        timers = config.progress_timers(self._timeout)
        return self._job(lambda codec: _management().upload_blob(codec, content.digest, content), timers=timers)


#: Stands for that of a file nobody has read yet.
_UNKNOWN_DIGEST: Final = "sha256:" + 64 * "0"


@lru_cache(maxsize=256)
def _place(text: str, what: str) -> BaseURL:
    need_here("sans_io.providers.ollama.codec")
    from sans_io.providers.ollama.codec import parse_ollama_host

    place = config.parsed_base_url(parse_ollama_host(text), what)
    if place.path.endswith("/v1"):
        raise LLMBadRequestError(
            f"{what} ends in /v1, which is Ollama's OpenAI-compatible API: leave it out here, or use "
            "OpenAICompatClient(base_url=...)",
            code="invalid_argument",
        )
    if place.path.endswith("/api"):
        raise LLMBadRequestError(
            f"{what} ends in /api, which the client adds by itself: leave it out", code="invalid_argument"
        )
    return place


def _names() -> ModuleType:
    need("sans_io.providers.ollama.codec")
    from sans_io.providers.ollama import names

    return names


def _management() -> ModuleType:
    need("sans_io.providers.ollama.management", "cloud.llm.ollama_models")
    from sans_io.providers.ollama import management

    return management


def _model_info(raw: dict[str, Any]) -> ModelInfo:
    from .ollama_models import model_info

    return model_info(raw)


def _running_models(raw: dict[str, Any]) -> list[RunningModel]:
    from .ollama_models import running_models

    return running_models(raw)


def _content(path: os.PathLike[str]) -> FileContent:
    _management()
    from .ollama_models import FileContent

    return FileContent(path)


def _paths(options: CreateOptions) -> list[os.PathLike[str]]:
    """The files that must be on the server before a model can be made of them."""
    given = [*(options.get("files") or {}).values(), *(options.get("adapters") or {}).values()]
    return [file for file in given if isinstance(file, os.PathLike)]


def _same_as(model_name: str) -> Callable[[str], bool]:
    """Whether a name means the same model."""
    names = _names()
    key = names.name_key(names.checked_name(model_name))
    return lambda name: names.name_key(name) == key


_pulls: Final = SyncPulls()
_async_pulls: Final = AsyncPulls()


class OllamaClient(_Ollama, SyncClient["OllamaCodec"]):
    """Blocking client for an Ollama server, by default the one on this machine.

    `client = OllamaClient(model="qwen2.5:3b"); client.ensure_model("qwen2.5:3b"); client.chat(messages)`
    """

    @documented("ollama")
    def chat(
        self,
        messages: Messages,
        model: str | None = None,
        system: System | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        tools: Tools | None = None,
        tool_choice: Choosing | None = None,
        **options: Unpack[CallOptions],
    ) -> ChatResponse:
        """Send the conversation and return the whole answer."""
        job = self._chat("chat", False, messages, model, system, temperature, max_tokens, tools, tool_choice, options)
        return self._run(job)

    @documented("ollama")
    def chat_stream(
        self,
        messages: Messages,
        model: str | None = None,
        system: System | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        tools: Tools | None = None,
        tool_choice: Choosing | None = None,
        **options: Unpack[CallOptions],
    ) -> ChatStream:
        """Send the conversation and return its answer as a stream: `for text in ...`. Nothing is sent before that."""
        job = self._chat(
            "chat_stream", True, messages, model, system, temperature, max_tokens, tools, tool_choice, options
        )
        return self._open(job)

    def is_available(self) -> bool:
        """Whether an Ollama server answers, asked once and within 2 seconds (or the client's timeout, if that is less).

        False for no connection and no answer; any other failure raises its `LLMError`.
        """
        try:
            self._run(self._probe())
        except (LLMConnectionError, LLMTimeoutError):
            return False
        return True

    def has_model(self, model_name: str) -> bool:
        """Whether the model is installed on the server. Names are compared as Ollama compares them: "llama3.2",
        "LLAMA3.2:latest" and "registry.ollama.ai/library/llama3.2" are one model. Raises `LLMError`.
        """
        return any(map(_same_as(model_name), self.list_models()))

    def pull_model(self, model_name: str, on_progress: OnProgress | None = None, *, insecure: bool = False) -> bool:
        """Download a model, or what is new of it. True, or an `LLMError` (`LLMNotFoundError`: no such model).

        `model_name` is like "llama3.2", "qwen2.5:3b" or "hf.co/user/model". `on_progress` is called with a
        `PullProgress` (status, digest, and total and completed in bytes) for each step. Whoever asks for the same model
        meanwhile waits for the same download. No limit on the whole; the `timeout` of each caller bounds its seconds
        between two signs of progress. `insecure` lets the server use a registry without https ("http://host/...").
        """
        job, identity = self._pull(model_name, insecure)
        return _pulls.join(identity, job, lambda: self._begin(job), on_progress)

    def ensure_model(self, model_name: str, on_progress: OnProgress | None = None, *, insecure: bool = False) -> bool:
        """`pull_model()` unless the model is installed. Returns True, or raises an `LLMError`."""
        return self.has_model(model_name) or self.pull_model(model_name, on_progress, insecure=insecure)

    def show_model(self, model_name: str, *, verbose: bool = False) -> ModelInfo:
        """What the server knows of a model: details, capabilities, context length, template, parameters, license.

        `verbose` adds the vocabulary and the list of tensors, megabytes of them, to `.raw`. Raises `LLMNotFoundError`
        for a model that is not installed, or another `LLMError`.
        """
        job = self._job(lambda codec: _management().show(codec, model_name, verbose))
        return _model_info(self._run(job).raw)

    def running_models(self) -> list[RunningModel]:
        """The models that are in memory, those that stay longest first. Raises `LLMError`."""
        job = self._job(lambda codec: _management().running(codec))
        return _running_models(self._run(job).raw)

    def load_model(
        self,
        model_name: str,
        *,
        keep_alive: float | str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> bool:
        """Load a model into memory, so that the first answer does not wait for it. True, or an `LLMError`.

        `keep_alive`: how long it stays there unused, in seconds (-1: for good) or like "10m"; default: the server's, 5
        minutes. `options`: Ollama's, of which those count that decide how it is loaded ({"num_ctx": 8192}). Returns
        when it is loaded, within the client's `timeout`: `with_options(timeout=600)` waits for large ones.
        """
        self._run(self._loading(model_name, keep_alive, options))
        return True

    def unload_model(self, model_name: str) -> bool:
        """Let a model go out of memory, once what it is answering is answered. True, also if it was not loaded.

        Raises `LLMNotFoundError` for a model that is not installed, or another `LLMError`.
        """
        self._run(self._job(lambda codec: _management().load(codec, model_name, 0)))
        return True

    def copy_model(self, source: str, destination: str) -> bool:
        """Give a model a second name; a model that has it is replaced. Returns True.

        Raises `LLMNotFoundError` for a source that is not installed, or another `LLMError`.
        """
        self._run(self._job(lambda codec: _management().copy(codec, source, destination)))
        return True

    def delete_model(self, model_name: str) -> bool:
        """Delete a model, and of its files those that no other needs. Returns True.

        Raises `LLMNotFoundError` if there is none, or another `LLMError`. Not tried again where the server may have
        done it already.
        """
        self._run(self._deletion(model_name))
        return True

    def create_model(
        self,
        model_name: str,
        from_: str | None = None,
        *,
        on_progress: OnProgress | None = None,
        **options: Unpack[CreateOptions],
    ) -> bool:
        """Make a model of another one, or of files. True, or an `LLMError`. A model that has the name is replaced.
        `create_model("mario", "llama3.2", system="You are Mario.")`

        Arguments:
            model_name: str: the name of the new model.
            from_: str: the model to begin with; one that is not installed is pulled. Either this or files.
            files: dict of name to file: a GGUF, or safetensors and their configs. A file is a `pathlib.Path`, which is
                uploaded unless the server has it, or the digest of one that it has (see `create_blob()`).
            adapters: dict of name to file: LoRA adapters, given like files.
            template: str: the prompt template, in Go's syntax.
            system: str: instructions for the model.
            parameters: dict: options that it is run with unless a call says otherwise, like {"temperature": 0}.
            messages: list of messages, as `chat()` takes them, that every conversation begins with.
            license: str or list of str.
            quantize: str: "q4_K_M", "q8_0" ...: only for what is not quantized yet.
            on_progress: called with a `PullProgress` for each step.

        No limit on the whole; `timeout` bounds the seconds between two signs of progress. Raises `LLMBadRequestError`
        for what cannot be sent, before anything is, and `OSError` for a file that cannot be read.
        """
        self._creation(model_name, from_, options, None)
        digests = {path: self.create_blob(path) for path in _paths(options)}
        job = self._creation(model_name, from_, options, digests)
        return _pulls.watch(lambda: self._begin(job), on_progress)

    def create_blob(self, path: os.PathLike[str]) -> str:
        """Upload a file for `create_model()` unless the server has it; returns its digest ("sha256:...").

        It is read twice, in pieces. Raises `OSError` if it cannot be read, or an `LLMError`.
        """
        with _content(path) as content:
            for _ in content.hashing():
                pass
            try:
                self._run(self._blob_exists(content))
            except LLMNotFoundError:
                self._run(self._upload(content))
        return content.digest


class AsyncOllamaClient(_Ollama, AsyncClient["OllamaCodec"]):
    """`OllamaClient` for asyncio and trio: the same methods, to be awaited."""

    @documented("ollama")
    async def chat(
        self,
        messages: Messages,
        model: str | None = None,
        system: System | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        tools: Tools | None = None,
        tool_choice: Choosing | None = None,
        **options: Unpack[CallOptions],
    ) -> ChatResponse:
        """Send the conversation and return the whole answer."""
        job = self._chat("chat", False, messages, model, system, temperature, max_tokens, tools, tool_choice, options)
        return await self._run(job)

    @documented("ollama")
    def chat_stream(
        self,
        messages: Messages,
        model: str | None = None,
        system: System | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        tools: Tools | None = None,
        tool_choice: Choosing | None = None,
        **options: Unpack[CallOptions],
    ) -> AsyncChatStream:
        """Send the conversation and return its answer as a stream: `for text in ...`. Nothing is sent before that."""
        job = self._chat(
            "chat_stream", True, messages, model, system, temperature, max_tokens, tools, tool_choice, options
        )
        return self._open(job)

    async def is_available(self) -> bool:
        """Whether an Ollama server answers, asked once and within 2 seconds (or the client's timeout, if that is less).

        False for no connection and no answer; any other failure raises its `LLMError`.
        """
        try:
            await self._run(self._probe())
        except (LLMConnectionError, LLMTimeoutError):
            return False
        return True

    async def has_model(self, model_name: str) -> bool:
        """Whether the model is installed on the server. Names are compared as Ollama compares them: "llama3.2",
        "LLAMA3.2:latest" and "registry.ollama.ai/library/llama3.2" are one model. Raises `LLMError`.
        """
        return any(map(_same_as(model_name), await self.list_models()))

    async def pull_model(
        self, model_name: str, on_progress: OnProgress | None = None, *, insecure: bool = False
    ) -> bool:
        """Download a model, or what is new of it. True, or an `LLMError` (`LLMNotFoundError`: no such model).

        `model_name` is like "llama3.2", "qwen2.5:3b" or "hf.co/user/model". `on_progress` is called with a
        `PullProgress` (status, digest, and total and completed in bytes) for each step. Whoever asks for the same model
        meanwhile waits for the same download. No limit on the whole; the `timeout` of each caller bounds its seconds
        between two signs of progress. `insecure` lets the server use a registry without https ("http://host/...").
        """
        job, identity = self._pull(model_name, insecure)
        return await _async_pulls.join(identity, job, lambda: self._begin(job), on_progress)

    async def ensure_model(
        self, model_name: str, on_progress: OnProgress | None = None, *, insecure: bool = False
    ) -> bool:
        """`pull_model()` unless the model is installed. Returns True, or raises an `LLMError`."""
        return await self.has_model(model_name) or await self.pull_model(model_name, on_progress, insecure=insecure)

    async def show_model(self, model_name: str, *, verbose: bool = False) -> ModelInfo:
        """What the server knows of a model: details, capabilities, context length, template, parameters, license.

        `verbose` adds the vocabulary and the list of tensors, megabytes of them, to `.raw`. Raises `LLMNotFoundError`
        for a model that is not installed, or another `LLMError`.
        """
        job = self._job(lambda codec: _management().show(codec, model_name, verbose))
        return _model_info((await self._run(job)).raw)

    async def running_models(self) -> list[RunningModel]:
        """The models that are in memory, those that stay longest first. Raises `LLMError`."""
        job = self._job(lambda codec: _management().running(codec))
        return _running_models((await self._run(job)).raw)

    async def load_model(
        self,
        model_name: str,
        *,
        keep_alive: float | str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> bool:
        """Load a model into memory, so that the first answer does not wait for it. True, or an `LLMError`.

        `keep_alive`: how long it stays there unused, in seconds (-1: for good) or like "10m"; default: the server's, 5
        minutes. `options`: Ollama's, of which those count that decide how it is loaded ({"num_ctx": 8192}). Returns
        when it is loaded, within the client's `timeout`: `with_options(timeout=600)` waits for large ones.
        """
        await self._run(self._loading(model_name, keep_alive, options))
        return True

    async def unload_model(self, model_name: str) -> bool:
        """Let a model go out of memory, once what it is answering is answered. True, also if it was not loaded.

        Raises `LLMNotFoundError` for a model that is not installed, or another `LLMError`.
        """
        await self._run(self._job(lambda codec: _management().load(codec, model_name, 0)))
        return True

    async def copy_model(self, source: str, destination: str) -> bool:
        """Give a model a second name; a model that has it is replaced. Returns True.

        Raises `LLMNotFoundError` for a source that is not installed, or another `LLMError`.
        """
        await self._run(self._job(lambda codec: _management().copy(codec, source, destination)))
        return True

    async def delete_model(self, model_name: str) -> bool:
        """Delete a model, and of its files those that no other needs. Returns True.

        Raises `LLMNotFoundError` if there is none, or another `LLMError`. Not tried again where the server may have
        done it already.
        """
        await self._run(self._deletion(model_name))
        return True

    async def create_model(
        self,
        model_name: str,
        from_: str | None = None,
        *,
        on_progress: OnProgress | None = None,
        **options: Unpack[CreateOptions],
    ) -> bool:
        """Make a model of another one, or of files. True, or an `LLMError`. A model that has the name is replaced.
        `create_model("mario", "llama3.2", system="You are Mario.")`

        Arguments:
            model_name: str: the name of the new model.
            from_: str: the model to begin with; one that is not installed is pulled. Either this or files.
            files: dict of name to file: a GGUF, or safetensors and their configs. A file is a `pathlib.Path`, which is
                uploaded unless the server has it, or the digest of one that it has (see `create_blob()`).
            adapters: dict of name to file: LoRA adapters, given like files.
            template: str: the prompt template, in Go's syntax.
            system: str: instructions for the model.
            parameters: dict: options that it is run with unless a call says otherwise, like {"temperature": 0}.
            messages: list of messages, as `chat()` takes them, that every conversation begins with.
            license: str or list of str.
            quantize: str: "q4_K_M", "q8_0" ...: only for what is not quantized yet.
            on_progress: called with a `PullProgress` for each step.

        No limit on the whole; `timeout` bounds the seconds between two signs of progress. Raises `LLMBadRequestError`
        for what cannot be sent, before anything is, and `OSError` for a file that cannot be read.
        """
        self._creation(model_name, from_, options, None)
        digests = {path: await self.create_blob(path) for path in _paths(options)}
        job = self._creation(model_name, from_, options, digests)
        return await _async_pulls.watch(lambda: self._begin(job), on_progress)

    async def create_blob(self, path: os.PathLike[str]) -> str:
        """Upload a file for `create_model()` unless the server has it; returns its digest ("sha256:...").

        It is read twice, in pieces. Raises `OSError` if it cannot be read, or an `LLMError`.
        """
        with _content(path) as content:
            for _ in content.hashing():
                await let_others_run()
            try:
                await self._run(self._blob_exists(content))
            except LLMNotFoundError:
                await self._run(self._upload(content))
        return content.digest
