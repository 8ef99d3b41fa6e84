"""What this library says under the logger `cloud.llm`, and how it calls a user's `on_attempt`.

    logging.getLogger("cloud.llm").setLevel(logging.DEBUG)          one line for each attempt
    logging.getLogger("cloud.llm.bodies").setLevel(logging.DEBUG)   the bodies too: they hold prompts and answers

Rules of this file:
- Every line goes through the redactor; a target is logged without its query.
- A program that has not imported `logging` has not asked for logs, so it is not imported here.
- A hook that raises is reported and does not change the call.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from sans_io.errors import LLMConnectionError
from transports.loading import need_here

from .redact import redact

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from sans_io.chat.response import Attempt, ChatResponse
    from sans_io.http.http11 import HTTPRequest

    Observer = Callable[[Attempt], object]

LOGGER: Final = "cloud.llm"
BODIES: Final = "cloud.llm.bodies"
#: `logging.DEBUG`, without importing it.
DEBUG: Final = 10


def observer(hook: Observer | None, method: str, path: str) -> Observer | None:
    """What to call with each finished attempt; None if nobody is interested."""
    logger = _enabled(LOGGER)
    if logger is None and hook is None:
        return None

    def observe(attempt: Attempt) -> None:
        if logger is not None:
            _log(logger, _line(method, path, attempt))
        if hook is not None:
            _tell(hook, attempt)

    return observe


def log_request(request: HTTPRequest) -> None:
    """The body about to be sent, if `cloud.llm.bodies` itself was set to DEBUG."""
    logger = _bodies_wanted()
    if logger is not None:
        _log(logger, f"> {request.method} {_path(request.target)} {request.body.decode('utf-8', 'replace')}")


def log_response(response: ChatResponse) -> None:
    """The reply as received, if `cloud.llm.bodies` itself was set to DEBUG."""
    logger = _bodies_wanted()
    if logger is not None:
        _log(logger, f"< {response.request_id or '-'} {response.raw!r}")


def _line(method: str, path: str, attempt: Attempt) -> str:
    words = [
        f"{method} {_path(path)}",
        f"attempt {attempt.number} ({attempt.reason})",
        f"status {attempt.status if attempt.status is not None else '-'}",
        f"{attempt.outcome} in {attempt.ended_at - attempt.started_at:.3f} s",
        f"connection {attempt.connection or '-'}",
        f"request id {attempt.request_id or '-'}",
    ]
    if attempt.delay is not None:
        words.append(f"again in {attempt.delay:.3f} s ({attempt.delay_reason})")
    return ", ".join(words)


def _path(target: str) -> str:
    return target.partition("?")[0]


def _log(logger: logging.Logger, line: str) -> None:
    logger.debug("%s", redact(line))


def _enabled(name: str) -> logging.Logger | None:
    logger = _logger(name)
    return logger if logger is not None and logger.isEnabledFor(DEBUG) else None


def _bodies_wanted() -> logging.Logger | None:
    """Bodies hold prompts: the level must be set on this very logger, an inherited one does not count."""
    logger = _logger(BODIES)
    return logger if logger is not None and 0 < logger.level <= DEBUG and logger.isEnabledFor(DEBUG) else None


def _logger(name: str) -> logging.Logger | None:
    logger = _loggers.get(name)
    if logger is None:
        # While another thread imports `logging`, the module is there and not yet the function.
        find = getattr(sys.modules.get("logging"), "getLogger", None)
        if find is not None:
            logger = _loggers[name] = find(name)
    return logger


_loggers: dict[str, logging.Logger] = {}


def _tell(hook: Observer, attempt: Attempt) -> None:
    try:
        hook(attempt)
    except Exception as error:  # noqa: BLE001 - a user's hook may raise anything, and the call must not change for it
        try:
            need_here("logging", "traceback")
        except LLMConnectionError as unloaded:
            if sys.stderr is not None:
                sys.stderr.write(f"cloud.llm: on_attempt raised {type(error).__name__}; {unloaded}\n")
            return
        import logging
        import traceback

        where = "".join(traceback.format_tb(error.__traceback__)[-1:]).strip().replace("\n", " ")
        logging.getLogger(LOGGER).error(
            "%s", redact(f"on_attempt raised {type(error).__name__}: {error} ({where}); the call goes on")
        )
