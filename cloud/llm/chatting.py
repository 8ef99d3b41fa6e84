"""From the arguments of `chat()` to a job: the same for every wire, blocking or awaited."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, TypeAlias

from transports.loading import need

from .client import Client, CodecT, Job, close_awaitable
from .options import CALL_OPTIONS

if TYPE_CHECKING:
    from sans_io.chat.messages import ChatRequest
    from sans_io.chat.shapes import AnyTool, Message, TextPart
    from sans_io.http.http11 import HTTPRequest

    from .config import Timeouts
    from .options import CallOptions

#: The common form for all wires; a vendor's own keys and blocks pass as well.
Messages: TypeAlias = "Sequence[Message | Mapping[str, Any]]"
Tools: TypeAlias = "Sequence[AnyTool | Mapping[str, Any]]"
Choosing: TypeAlias = "str | Mapping[str, Any]"
System: TypeAlias = "str | Sequence[TextPart | Mapping[str, Any]]"


@cache
def _checker() -> Callable[..., ChatRequest]:
    """`chat_request`, imported at the first call; an import statement costs 8 k instructions each time."""
    need("sans_io.chat.messages")
    from sans_io.chat.messages import chat_request

    return chat_request


class ChatClient(Client[CodecT]):
    """A client that chats."""

    def _chat(
        self,
        method: str,
        stream: bool,
        messages: Messages,
        model: str | None,
        system: System | None,
        temperature: float | None,
        max_tokens: int | None,
        tools: Tools | None,
        tool_choice: Choosing | None,
        options: CallOptions,
    ) -> Job[CodecT]:
        """Check the arguments. Raises `LLMBadRequestError` naming the path of what is wrong, `TypeError` for an option
        that `method` does not have.
        """
        timeout: float | Timeouts | None = None
        max_retries: int | None = None
        if options:
            if not CALL_OPTIONS.issuperset(options):
                self._refuse_unknown(method, options)
            timeout, max_retries = options.pop("timeout", None), options.pop("max_retries", None)
        request = _checker()(
            messages,
            self.model if model is None else model,
            system=system,
            temperature=temperature,
            max_tokens=max_tokens,
            tools=tools,
            tool_choice=tool_choice,
            stream=stream,
            **options,
        )
        return self._job(
            lambda codec: codec.operation(request), stream=stream, timeout=timeout, max_retries=max_retries
        )

    def _refuse_unknown(self, method: str, options: Mapping[str, object]) -> None:
        from .hints import unknown_option

        code = getattr(type(self), method).__code__
        known = {*CALL_OPTIONS, *code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]}
        for name in options:
            if name not in CALL_OPTIONS:
                raise unknown_option(method, name, known, of_call=True)

    def _request_of(self, job: Job[CodecT]) -> HTTPRequest:
        """What would be sent. A callable key is asked; one that must be awaited cannot be, and is left out."""
        if self._made is None or self._made.fixed_key:
            return job.operation.request
        value = self._ask_for_key()
        if isawaitable(value):
            close_awaitable(value)
            return job.operation.request
        return job.build(self._codec_with(value)).request
