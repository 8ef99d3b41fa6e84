"""What the six clients have in common: settings, credentials, one call after the other.

    Client ──┬── ChatClient ── one file for each wire
             └── SyncClient (blocks), AsyncClient (is awaited)      sync_async.py

Rules of this file:
- Every decision that is not a wire's is here; blocking and asynchronous clients differ in `await` only.
- Building a client does no I/O and imports no codec, transport or TLS: what a first call needs is made then, and kept.
- A key is a `Secret` or a callable from the moment it comes in; no frame that an error passes through holds its text.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from time import time
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Self, TypeVar, cast

from sans_io.errors import LLMAuthError, LLMBadRequestError
from sans_io.http.secret import Secret
from sans_io.records import dataclass
from transports.loading import need, need_here

from . import config, registry
from .credentials import called_key
from .logs import log_request, observer
from .options import CLIENT_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sans_io.calls.call import Call
    from sans_io.chat.response import Attempt
    from sans_io.http.urls import BaseURL
    from sans_io.limits import Limits
    from sans_io.policy.deadline import Timers
    from sans_io.policy.pool import Route
    from sans_io.policy.retry import RetryPolicy
    from sans_io.providers.base import Codec, Operation

    from .budgets import SharedBudget
    from .config import Timeouts
    from .credentials import Key
    from .options import ClientOptions


CodecT = TypeVar("CodecT", bound="Codec")


@dataclass(slots=True)
class Job(Generic[CodecT]):
    """One thing to be asked of the server. `build` makes it with the codec that holds the current key."""

    build: Callable[[CodecT], Operation]
    operation: Operation
    timers: Timers
    retry: RetryPolicy
    stream: bool


class Client(ABC, Generic[CodecT]):
    """Base of all clients: constructor arguments in, calls out."""

    #: The name of the wire, as it stands in errors.
    provider: ClassVar[str]
    model: str | None

    def _settings(self, given: ClientOptions) -> ClientOptions:
        """The options of every client, with defaults where nothing was given. Raises `TypeError` for another name."""
        if not given.keys() <= _DEFAULTS.keys():
            self._refuse_unknown_setting(type(self).__name__, given, _DEFAULTS)
        return {**_DEFAULTS, **given}

    def _refuse_unknown_setting(self, method: str, given: Iterable[str], taken: Iterable[str]) -> None:
        """Raise `TypeError` for the first name given that is not among those taken."""
        from .hints import unknown_option

        for name in given:
            if name not in taken:
                raise unknown_option(method, name, {*_DEFAULTS, *_parameters(type(self))} - {name})

    def _configure(
        self,
        settings: ClientOptions,
        *,
        base_url: BaseURL,
        key: Key,
        key_variable: str | None,
        model: str | None,
        default_model: str | None,
    ) -> None:
        """Check and keep what every client has; called by the constructors. Raises `LLMBadRequestError`."""
        config.check_place(model, "model")
        ca_file, proxy, headers = settings["ca_file"], settings["proxy"], settings["headers"]
        if not isinstance(ca_file, os.PathLike):
            config.check_place(ca_file, "ca_file")
        values: Mapping[str, object] = settings
        for name, (attribute, kind) in _KINDS.items():
            value = values[name]
            if value is not None and not hasattr(value, attribute):
                raise LLMBadRequestError(f"{name} must be {kind}, not {type(value).__module__}.{type(value).__name__}")
        self.model = default_model if model is None else model
        self._model_given = model
        self._base_url = base_url
        self._key = key
        #: The variable the key was read from, None if it was given.
        self._key_variable = key_variable
        self._timeout = config.check_timeout(settings["timeout"])
        self._retry = config.retry_policy(settings["max_retries"], settings["retry"])
        self._headers: tuple[tuple[str, str | Secret], ...] = _checked_headers(headers) if headers else ()
        self._transport = settings["transport"]
        self._ssl_context = settings["ssl_context"]
        self._ca_file = None if ca_file is None else os.fspath(ca_file)
        self._trust_env = settings["trust_env"]
        self._proxy_given = proxy is not None
        self._proxy = config.resolve_proxy(base_url.origin, proxy, self._trust_env)
        self._isolate = settings["isolate_credentials"]
        self._on_attempt = on_attempt = settings["on_attempt"]
        self._limits = settings["limits"]
        self._made: _Made[CodecT] | None = None
        if on_attempt is not None and not callable(on_attempt):
            raise LLMBadRequestError(f"on_attempt must be callable, not {type(on_attempt).__name__}")
        if self._ssl_context is not None and ca_file is not None:
            raise LLMBadRequestError("give ssl_context or ca_file, not both: a context brings its own certificates")
        if base_url.origin.scheme == "http" and (key is not None or self._has_secret_header()):
            config.warn_if_insecure(base_url.origin, stacklevel=4)

    if not TYPE_CHECKING:  # to type checkers a client has the attributes that it has

        def __getattr__(self, name: str) -> object:
            if name.startswith("_"):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            from .hints import unknown_attribute

            public = [word for word in dir(type(self)) if not word.startswith("_")]
            if name in public:  # a property that has raised AttributeError: once more, for its own words
                return object.__getattribute__(self, name)
            raise AttributeError(unknown_attribute(type(self).__name__, name, public), name=name, obj=None)

    # -- what a wire decides ------------------------------------------------------------------------------------------

    @abstractmethod
    def _new_codec(self, key: Secret | None, limits: Limits) -> CodecT:
        """The codec of this client's settings with this key; imports it on first use."""

    @abstractmethod
    def _arguments(self) -> dict[str, Any]:
        """Constructor arguments of the wire's own that make this client again."""

    # -- public, the same for both kinds ------------------------------------------------------------------------------

    @property
    def base_url(self) -> str:
        """Where requests go, without the path of an endpoint."""
        return str(self._base_url)

    @property
    def timeout(self) -> float | Timeouts | None:
        """In seconds, or the `Timeouts`, as given; None is unlimited."""
        return self._timeout

    @property
    def max_retries(self) -> int:
        """How often a failed call is tried again."""
        return self._retry.max_retries

    def _with_options(self, changes: Mapping[str, Any]) -> Self:
        """A client of the same class with these constructor arguments changed; it shares pool and retry budget.

        A key that was read from the environment is read again if `base_url` or what decides it changes, so that it
        never follows to another vendor.
        """
        arguments = self._given()
        if not changes.keys() <= arguments.keys() | {"max_retries"}:
            self._refuse_unknown_setting("with_options", changes, {*_DEFAULTS, *_parameters(type(self))})
        changes = dict(changes)
        if self._key_variable is not None and not _PLACE.isdisjoint(changes):
            arguments = {name: None if value is self._key else value for name, value in arguments.items()}
        if "max_retries" in changes and "retry" not in changes:
            changes["retry"] = config.with_max_retries(self._retry, changes.pop("max_retries"))
        other = type(self)(**{**arguments, **changes})
        if other._key is self._key:
            other._keep_key(self)
        return other

    def _keep_key(self, other: Self) -> None:
        """The key came from this other client: remember what that one knew about it."""
        self._key_variable = other._key_variable

    def _given(self) -> dict[str, Any]:
        """Constructor arguments that make this client again."""
        return {
            "api_key": self._key,
            "model": self._model_given,
            "base_url": str(self._base_url),
            "timeout": self._timeout,
            "retry": self._retry,
            "headers": dict(self._headers) or None,
            "transport": self._transport,
            "ssl_context": self._ssl_context,
            "ca_file": self._ca_file,
            "proxy": self._proxy if self._proxy_given else None,
            "trust_env": self._trust_env,
            "isolate_credentials": self._isolate,
            "on_attempt": self._on_attempt,
            "limits": self._limits,
            **self._arguments(),
        }

    def __repr__(self) -> str:
        if not hasattr(self, "_base_url"):
            return f"<{type(self).__name__}, not constructed>"  # in the traceback of a constructor that has raised
        return f"{type(self).__name__}(model={self.model!r}, base_url={self._base_url.shown!r})"

    def __copy__(self) -> Self:
        return self._with_options({})

    def __deepcopy__(self, memo: object) -> Self:
        return self._with_options({})

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled without its key: one from the environment is read again there, one that was given is missing then."""
        if self._has_secret_header() or (self._proxy_given and self._proxy is not None and self._proxy.authorization):
            raise TypeError("a client with credentials in headers or proxy cannot be pickled")
        lost = None if self._key is None or self._key_variable is not None else _lost_in_pickling
        return _again, (type(self), {k: lost if v is self._key else v for k, v in self._given().items()})

    # -- from arguments to a call -------------------------------------------------------------------------------------

    def _job(
        self,
        build: Callable[[CodecT], Operation],
        *,
        stream: bool = False,
        timeout: float | Timeouts | None = None,
        max_retries: int | None = None,
        timers: Timers | None = None,
    ) -> Job[CodecT]:
        """Check everything that can be checked before the first byte. Raises `LLMBadRequestError`."""
        made = self._made or self._make()
        return Job(
            build,
            build(made.codec),
            timers or config.timers_for(self._limit(timeout), stream),
            config.with_max_retries(self._retry, max_retries),
            stream,
        )

    def _limit(self, timeout: float | Timeouts | None) -> float | Timeouts | None:
        return self._timeout if timeout is None else config.check_timeout(timeout)

    def _call(self, job: Job[CodecT], now: float) -> Call:
        made = self._made or self._make()
        log_request(job.operation.request)
        return made.new_call(
            job.operation if made.fixed_key else None,
            made.route,
            job.timers,
            now=now,
            retry=job.retry,
            budget=made.budget,
            seed=registry.new_seed(now),
            stream=job.stream,
            limits=made.limits,
            epoch_offset=time() - now,
        )

    def _observer(self, job: Job[CodecT]) -> Callable[[Attempt], object] | None:
        request = job.operation.request
        return observer(self._on_attempt, request.method, request.target)

    def _make(self) -> _Made[CodecT]:
        """What the first call needs and all others share."""
        # `hiding` is for errors, and an error may be that no descriptor is left to load it.
        need(
            "sans_io.calls.call",
            "sans_io.limits",
            "sans_io.policy.pool",
            "sans_io.http.hiding",
            "cloud.llm.budgets",
            "h11",
        )
        from sans_io.calls.call import Call
        from sans_io.limits import DEFAULT_LIMITS
        from sans_io.policy.pool import Route

        from .budgets import retry_budget

        key, origin = self._key, self._base_url.origin
        fixed = key is None or isinstance(key, Secret)
        limits = self._limits or DEFAULT_LIMITS
        credential_print = self._fingerprint()
        made: _Made[CodecT] = _Made(
            self._new_codec(key if isinstance(key, Secret) else None, limits),
            fixed,
            Route(origin, self._proxy, self._tls_profile(), credential_print if self._isolate else None),
            retry_budget(self._transport, origin, credential_print),
            limits,
            Call,
        )
        self._made = made
        return made

    def _fingerprint(self) -> str | None:
        """Tells credentials apart within this process. Python keys its hashes, so nothing can be read back."""
        secrets = tuple(value for _, value in self._headers if isinstance(value, Secret))
        if self._key is None and not secrets:
            return None
        return f"{hash((self._key, secrets)) & 0xFFFFFFFFFFFFFFFF:016x}"

    def _tls_profile(self) -> object:
        if self._ssl_context is None and self._ca_file is None:
            return None
        need("transports.tls")
        from transports.tls import TLSProfile

        return TLSProfile(self._ca_file) if self._ssl_context is None else TLSProfile.of(self._ssl_context)

    def _codec_with(self, value: object) -> CodecT:
        """The codec with a key from a callable; the last one is kept, since such a key seldom changes."""
        made = self._made or self._make()
        key = cast("Secret", value)
        # One look and one write: another thread may put its own key there at any moment.
        keyed = made.keyed
        if keyed is None or keyed[0] != key:
            keyed = made.keyed = (key, self._new_codec(key, made.limits))
        return keyed[1]

    def _ask_for_key(self) -> object:
        key = self._key
        if key is None or isinstance(key, Secret):
            raise LLMAuthError("this client has no api_key callable")
        return called_key(key())

    def _has_secret_header(self) -> bool:
        return any(isinstance(value, Secret) for _, value in self._headers)


_DEFAULTS: Final = cast("ClientOptions", {name: default for name, (default, _) in CLIENT_OPTIONS.items()})
#: Options that are objects, by an attribute that theirs have and others have not. `ssl` is not loaded for this.
_KINDS: Final = {
    "transport": ("start", "an object of `transports`"),
    "ssl_context": ("wrap_bio", "an ssl.SSLContext"),
    "retry": ("max_retries", "a RetryPolicy"),
    "limits": ("max_json", "a Limits object"),
}
#: Constructor arguments that decide which vendor a client talks to.
_PLACE: Final = frozenset({"base_url", "host", "dialect", "api_version"})


@dataclass(slots=True)
class _Made(Generic[CodecT]):
    """What a client makes at its first call. `keyed`: the last key of a callable, and the codec that has it."""

    codec: CodecT
    fixed_key: bool
    route: Route
    budget: SharedBudget
    limits: Limits
    new_call: type[Call]
    keyed: tuple[Secret, CodecT] | None = None


def _checked_headers(headers: Mapping[str, str | Secret]) -> tuple[tuple[str, str | Secret], ...]:
    need_here("sans_io.http.http11")
    from sans_io.http.http11 import merge_headers

    if not hasattr(headers, "items"):
        raise LLMBadRequestError(f"headers must be a dict of strings, not {type(headers).__name__}")
    return merge_headers((), headers)


def _parameters(cls: type) -> set[str]:
    """The names that constructors take, those of a user's subclass and of its bases."""
    from inspect import Parameter, signature

    named = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    found: set[str] = set()
    for base in cls.__mro__:
        if "__init__" in vars(base) and base is not object:
            found |= {name for name, one in signature(vars(base)["__init__"]).parameters.items() if one.kind in named}
    return found - {"self"}


def _again(cls: Callable[..., object], arguments: dict[str, Any]) -> object:
    return cls(**arguments)


def _lost_in_pickling() -> str:
    raise LLMAuthError(
        "this client was pickled, and keys are not pickled: use with_options(api_key=...)", code="missing_api_key"
    )


def close_awaitable(awaitable: object) -> None:
    """A coroutine that nobody will await says so on stderr unless it is closed."""
    close = getattr(awaitable, "close", None)
    if close is not None:
        close()
