"""What a user configures, and what the core makes of it: timeouts, retries, the insecure-transport warning.

Rules of this file:
- *Timeout* (a duration) is a word of this layer; it leaves as `Timers`, from which the core counts deadlines.
- A wrong setting is refused at construction, with an error that names it.
- The environment is read by functions that are called at construction, never at import.
"""

from __future__ import annotations

import math
import os
import warnings
from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from sans_io.errors import LLMBadRequestError
from sans_io.limits import is_count, is_seconds, shown
from sans_io.policy.deadline import Timers
from sans_io.policy.retry import RetryPolicy
from sans_io.records import dataclass, replace
from transports.loading import need_here

if TYPE_CHECKING:
    from sans_io.http.proxies import EnvironmentProxies, Proxy
    from sans_io.http.urls import BaseURL, Origin

#: Seconds. LLM calls are slow: a long answer without streaming takes a minute or two.
DEFAULT_TIMEOUT: Final = 120.0
DEFAULT_MAX_RETRIES: Final = 3

DEFAULT_OPENAI_MODEL: Final = "gpt-5.4-mini"
DEFAULT_ANTHROPIC_MODEL: Final = "claude-sonnet-5-5"
DEFAULT_OLLAMA_MODEL: Final = "qwen2.5:3b"

_POOL, _CONNECT, _WRITE = 30.0, 5.0, 30.0


class InsecureTransportWarning(UserWarning):
    """A credential is about to be sent over plain http to another machine."""


class _Unset:
    """The value of a timeout that was not given; `None` says "unlimited"."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "default"

    def __reduce__(self) -> str:
        return "UNSET"


UNSET: Final = _Unset()


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each part of a call may take, in seconds; `None` is unlimited, what is left out has its default.

    `total`: the whole call with queueing, retries and sleeps (`chat()`: 120, but never below `first_token` or `idle`;
    `chat_stream()`: unlimited). `pool`: waiting for a connection (30). `connect`: name resolution, TCP, proxy and TLS
    together (5). `write`: the longest pause while sending (30). `first_token`: of each attempt, from the request sent
    to the first event (120); set it below the total and a silent server is retried. `idle`: the longest gap between
    content events afterwards, where comments and pings do not count (120). A stream's time up to its first event, over
    all attempts, is bounded by `total`, else by 120 or `first_token`, whichever is more.
    """

    total: float | None | _Unset = UNSET
    pool: float | None | _Unset = UNSET
    connect: float | None | _Unset = UNSET
    write: float | None | _Unset = UNSET
    first_token: float | None | _Unset = UNSET
    idle: float | None | _Unset = UNSET

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if value is not UNSET:
                _seconds(value, f"Timeouts.{name}")


def check_timeout(timeout: object) -> float | Timeouts | None:
    """The timeout as it is kept: `Timeouts`, a float, or None for unlimited. Raises `LLMBadRequestError`."""
    if isinstance(timeout, Timeouts):
        return timeout
    kind = type(timeout)
    if kind is not tuple and not hasattr(timeout, "connect"):
        return _seconds(timeout, "timeout")
    # What requests and httpx take.
    given = shown(timeout) if kind is tuple else f"{kind.__module__.partition('.')[0]}.{kind.__name__}"
    raise LLMBadRequestError(
        f"timeout must be a positive number of seconds or None, not {given}; "
        "cloud.llm.Timeouts(total=..., connect=..., idle=...) has limits for the parts of a call"
    )


@lru_cache(maxsize=256)
def timers_for(timeout: float | Timeouts | None, stream: bool) -> Timers:
    """The core's timers for one call (reliability: "Timers").

    A plain t bounds a whole `chat()`; of a stream it bounds everything up to the first event and every gap after it.
    """
    if not isinstance(timeout, Timeouts):
        t = timeout
        return Timers(
            total=None if stream else t,
            until_commit=t if stream else None,
            pool=_least(_POOL, t),
            connect=_least(_CONNECT, t),
            write=_least(_WRITE, t),
            first_token=t,
            idle=t,
        )
    given_total = None if isinstance(timeout.total, _Unset) else timeout.total
    t = DEFAULT_TIMEOUT if given_total is None else given_total
    first_token = _given(timeout.first_token, t)
    idle = _given(timeout.idle, t)
    if isinstance(timeout.total, _Unset):
        total = None if stream else _most(DEFAULT_TIMEOUT, first_token, idle)
        until_commit = _most(DEFAULT_TIMEOUT, first_token) if stream else None
    else:
        total, until_commit = timeout.total, None
    return Timers(
        total=total,
        until_commit=until_commit,
        pool=_given(timeout.pool, min(_POOL, t)),
        connect=_given(timeout.connect, min(_CONNECT, t)),
        write=_given(timeout.write, min(_WRITE, t)),
        first_token=first_token,
        idle=idle,
    )


@lru_cache(maxsize=256)
def progress_timers(timeout: float | Timeouts | None) -> Timers:
    """For a download that may take hours: no total, the stream's idle time between progress lines."""
    timers = timers_for(timeout, True)
    return replace(timers, total=None, until_commit=None, first_token=timers.idle)


def probe_timers(timeout: float | Timeouts | None, longest: float = 2.0) -> Timers:
    """For a question that must be answered at once: everything within `longest` seconds."""
    timers = timers_for(timeout, False)
    return replace(timers, total=_least(longest, timers.total), until_commit=None)


def retry_policy(max_retries: int, policy: RetryPolicy | None) -> RetryPolicy:
    """The policy of a client: a `RetryPolicy` brings its own `max_retries`, which an unusual argument replaces."""
    return _retry_policy(checked_max_retries(max_retries), policy)


@lru_cache(maxsize=256)
def _retry_policy(max_retries: int, policy: RetryPolicy | None) -> RetryPolicy:
    if policy is None:
        return RetryPolicy(max_retries=max_retries)
    return policy if max_retries == DEFAULT_MAX_RETRIES else replace(policy, max_retries=max_retries)


def with_max_retries(policy: RetryPolicy, max_retries: int | None) -> RetryPolicy:
    """The policy of one call, which may bring its own number of retries."""
    if max_retries is None or checked_max_retries(max_retries) == policy.max_retries:
        return policy
    return replace(policy, max_retries=max_retries)


def checked_max_retries(max_retries: object) -> int:
    """The number as it is. Raises `LLMBadRequestError`, also for what is equal to a number, such as True."""
    if not is_count(max_retries):
        raise LLMBadRequestError(f"max_retries must be an integer of at least 0, not {shown(max_retries)}")
    return max_retries


def check_place(value: object, what: str) -> None:
    """Refuse a blank argument that says where something is: most likely a variable that was not set, and the default
    would be a place that nobody meant. None, for the default, passes. Raises `LLMBadRequestError`.
    """
    if value is not None and not isinstance(value, str):
        raise LLMBadRequestError(f"{what} must be a string, not {type(value).__name__}")
    if value is not None and not value.strip():
        raise LLMBadRequestError(
            f"{what} is blank: give a value, or leave it out for the default (was an environment variable not set?)",
            code="invalid_argument",
        )


def place(given: str | None, what: str, variable: str | None) -> tuple[str | None, str]:
    """The address that was given as `what`, else that in the variable, and the name of the two that it came from."""
    check_place(given, what)
    if given is not None or variable is None or variable not in os.environ:
        return given, what
    found = from_environment(variable)
    if found is None:
        raise LLMBadRequestError(
            f"the environment variable {variable} is set but blank: set it to an address, or unset it",
            code="invalid_argument",
        )
    return found, variable


def parsed_base_url(text: str, what: str = "base_url") -> BaseURL:
    """`parse_base_url`, remembered: the clients of all tenants of one server have the same."""
    if not isinstance(text, str):  # a list could not even be looked up
        raise LLMBadRequestError(f"{what} must be a string, not {type(text).__name__}")
    return _parsed_base_url(text, what)


@lru_cache(maxsize=1024)
def _parsed_base_url(text: str, what: str) -> BaseURL:
    need_here("sans_io.http.urls")
    from sans_io.http.urls import parse_base_url

    return parse_base_url(text, what)


# -- environment and warnings -----------------------------------------------------------------------------------------


def from_environment(name: str) -> str | None:
    """The variable's value, None where it is unset, empty or white space."""
    value = os.environ.get(name)
    return (value.strip() or None) if value else None


#: By the scheme of an origin: without any of these there is no proxy for it, and nothing else is looked at.
_PROXY_VARIABLES: Final = {
    scheme: (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY") for scheme in ("http", "https")
}


def resolve_proxy(origin: Origin, proxy: str | Proxy | None, trust_env: bool) -> Proxy | None:
    """The proxy for requests to `origin`: the one given, else what the environment says, unless it is not trusted."""
    if proxy is not None:
        need_here("sans_io.http.proxies")
        from sans_io.http.proxies import Proxy, parse_proxy

        if isinstance(proxy, Proxy):
            return proxy
        check_place(proxy, "proxy")
        return parse_proxy(proxy)
    environ = os.environ
    if not trust_env or not any(name in environ for name in _PROXY_VARIABLES[origin.scheme]) or origin.is_loopback:
        return None
    names = (*_PROXY_VARIABLES["http"], *_PROXY_VARIABLES["https"], "no_proxy", "NO_PROXY", "REQUEST_METHOD")
    found = tuple((name, environ[name]) for name in dict.fromkeys(names) if name in environ)
    proxies = _environment_proxies(found)
    for sentence in proxies.ignored:
        if sentence not in _warned:
            _remember(sentence)
            warnings.warn(f"a proxy variable is ignored: {sentence}", UserWarning, stacklevel=5)
    return proxies.proxy_for(origin)


@lru_cache(maxsize=16)
def _environment_proxies(variables: tuple[tuple[str, str], ...]) -> EnvironmentProxies:
    need_here("sans_io.http.proxies")
    from sans_io.http.proxies import environment_proxies

    return environment_proxies(dict(variables))


_MAX_WARNED: Final = 4096
_warned: OrderedDict[object, None] = OrderedDict()


def warn_if_insecure(origin: Origin, stacklevel: int) -> None:
    """Once per origin: a key goes in clear text over the network. The oldest of 4,096 origins is forgotten."""
    if origin.scheme != "http" or origin.is_loopback or origin in _warned:
        return
    _remember(origin)
    warnings.warn(
        f"the credential for http://{origin.authority} travels unencrypted: anybody on the way can read it; use https",
        InsecureTransportWarning,
        stacklevel=stacklevel + 1,
    )


def _remember(what: object) -> None:
    _warned[what] = None
    if len(_warned) > _MAX_WARNED:
        _warned.popitem(last=False)


def _seconds(value: object, what: str) -> float | None:
    if value is None:
        return None
    if not is_seconds(value) or value == 0:
        raise LLMBadRequestError(f"{what} must be a positive number of seconds or None, not {shown(value)}")
    return None if value == math.inf else float(value)


def _given(value: float | None | _Unset, default: float | None) -> float | None:
    if isinstance(value, _Unset):
        return default
    return None if value is None or math.isinf(value) else value


def _least(default: float, t: float | None) -> float:
    return default if t is None else min(default, t)


def _most(*values: float | None) -> float | None:
    present = [value for value in values if value is not None]
    return max(present) if len(present) == len(values) else None
