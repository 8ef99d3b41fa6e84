"""Where a client's key comes from.

Rules of this file:
- A key is a `Secret` or a callable from the moment it comes in.
- The environment is read here, at construction, and only where no key was given.
- A refused argument leaves no frame behind that holds it: error trackers record the locals of every frame.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from inspect import isawaitable
from typing import ParamSpec, TypeAlias, TypeVar, cast

from sans_io.errors import LLMAuthError, LLMBadRequestError, LLMError
from sans_io.http.secret import Secret
from sans_io.providers.registry import CARRIERS

from . import config

#: What `api_key` may be: the key, or something that is called for it before each request.
AsyncKey: TypeAlias = str | Secret | Callable[[], str | Awaitable[str]] | None
#: As it is kept.
Key: TypeAlias = Secret | Callable[[], str | Awaitable[str]] | None


def checked_key(api_key: object, variables: tuple[str, ...]) -> tuple[Key, str | None]:
    """The key as it is kept, and the variable it was read from (None if it was given, or if there is none).

    An empty string counts as not given. Raises `LLMBadRequestError` for what cannot be a key, without echoing it.
    """
    if isinstance(api_key, Secret) or callable(api_key):
        return cast("Key", api_key), None
    if isinstance(api_key, str) and api_key.startswith(("http://", "https://")):
        raise LLMBadRequestError(
            "api_key is a URL: where the server is goes into base_url=... (for Ollama also host=...)",
            code="invalid_argument",
        )
    if api_key is not None and api_key != "":
        return _key(api_key, "api_key"), None
    for name in variables:
        value = config.from_environment(name)
        if value is not None:
            return _key(value, name), name
    return None, None


def _key(value: object, what: str) -> Secret:
    """A key as a `Secret`. Raises `LLMBadRequestError` for what is none, without echoing it."""
    if isinstance(value, str) and value[:7].lower() == "bearer ":
        raise LLMBadRequestError(
            f"{what} begins with the word Bearer, which the client adds by itself: give the key alone",
            code="invalid_argument",
        )
    return Secret(cast("str", value), what)


def missing_key(vendor: str, variables: tuple[str, ...], arguments: str = "api_key=") -> LLMAuthError:
    """What a constructor raises where no request could succeed without a key."""
    return LLMAuthError(
        f"no API key for {vendor}: give {arguments} or set {' or '.join(variables)}",
        code="missing_api_key",
        provider=vendor,
    )


P = ParamSpec("P")
T = TypeVar("T")


def forgetful(function: Callable[P, T]) -> Callable[P, T]:
    """For what takes a key as it was written: its `LLMError`, or the `TypeError` for an argument that it does not have,
    comes without the frames below, and this one is empty.

    A key with a line break at its end is refused, and would otherwise stand in the traceback with its locals.
    """

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except (LLMError, TypeError) as error:
            refused: Exception = error.with_traceback(None)
            refused.__context__ = None
        del args, kwargs
        try:
            raise refused
        finally:
            del refused

    return called


@forgetful
def called_key(value: object) -> object:
    """What an api_key callable returned: an awaitable as it is, else a `Secret`. Raises `LLMBadRequestError`."""
    if isinstance(value, Secret) or isawaitable(value):
        return value
    return _key(value, "what the api_key callable returned")


def brings_credential(headers: Mapping[str, str | Secret] | None) -> bool:
    """Whether the caller's own header fields carry a credential, which then travels instead of a key."""
    return headers is not None and any(str(name).lower() in CARRIERS for name in headers)
