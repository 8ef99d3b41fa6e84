"""From the arguments of `chat()` to a job: the same for every wire, blocking or awaited."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from transports.loading import need

from .client import Client, Codec, Job, close_awaitable

if TYPE_CHECKING:
    from sans_io.chat.messages import ChatRequest
    from sans_io.http.http11 import HTTPRequest
    from sans_io.providers.base import Operation

    from .config import Timeouts

#: OpenAI-shaped dicts; the TypedDicts in `cloud.llm` describe them for type checkers.
Messages: TypeAlias = Sequence[Mapping[str, Any]]
Tools: TypeAlias = Sequence[Mapping[str, Any]]
Choosing: TypeAlias = "str | Mapping[str, Any]"


@cache
def _checker() -> Callable[..., ChatRequest]:
    """`chat_request`, imported at the first call; an import statement costs 8 k instructions each time."""
    need("sans_io.chat.messages")
    from sans_io.chat.messages import chat_request

    return chat_request


class ChatCodec(Codec, Protocol):
    """What `chat()` needs of a wire's codec."""

    def operation(self, chat: ChatRequest, /) -> Operation: ...


ChatCodecT = TypeVar("ChatCodecT", bound=ChatCodec)


class ChatClient(Client[ChatCodecT]):
    """A client that chats."""

    def _chat(
        self,
        stream: bool,
        messages: Messages,
        model: str | None,
        system: str | None,
        temperature: float | None,
        max_tokens: int | None,
        tools: Tools | None,
        tool_choice: Choosing | None,
        top_p: float | None,
        stop: str | Sequence[str] | None,
        seed: int | None,
        response_format: Choosing | None,
        reasoning_effort: str | None,
        parallel_tool_calls: bool | None,
        n: int | None,
        extra_body: Mapping[str, Any] | None,
        extra_headers: Mapping[str, str] | None,
        timeout: float | Timeouts | None,
        max_retries: int | None,
    ) -> Job[ChatCodecT]:
        """Check the arguments. Raises `LLMBadRequestError` naming the path of what is wrong."""
        request = _checker()(
            messages,
            self.model if model is None else model,
            system=system,
            temperature=temperature,
            max_tokens=max_tokens,
            tools=tools,
            tool_choice=tool_choice,
            stream=stream,
            top_p=top_p,
            stop=stop,
            seed=seed,
            response_format=response_format,
            reasoning_effort=reasoning_effort,
            parallel_tool_calls=parallel_tool_calls,
            n=n,
            extra_body=extra_body,
            extra_headers=extra_headers,
        )
        return self._job(
            lambda codec: codec.operation(request), stream=stream, timeout=timeout, max_retries=max_retries
        )

    def _request_of(self, job: Job[ChatCodecT]) -> HTTPRequest:
        """What would be sent. A callable key is asked; one that must be awaited cannot be, and is left out."""
        if self._made is None or self._made.fixed_key:
            return job.operation.request
        value = self._ask_for_key()
        if isawaitable(value):
            close_awaitable(value)
            return job.operation.request
        return job.build(self._codec_with(value)).request
