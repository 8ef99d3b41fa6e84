"""The retry budgets of a process: one for each origin and credential, shared by threads and loops.

Rules of this file:
- No data of a tenant is kept: a budget is identified by its origin and a fingerprint of the credential.
- One `Exclusion` guards all budgets. From inside it, what is given back is left to the holder; `take` answers from the
  current state and leaves the subtraction to the holder; a new budget is listed afterwards.
- An interruption loses at most the tokens of one retry.
"""

from __future__ import annotations

import os
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias
from weakref import WeakValueDictionary

from sans_io.policy.retry import RetryBudget
from transports.exclusion import Busy, Exclusion

from .registry import number_of

if TYPE_CHECKING:
    from sans_io.http.urls import Origin

    from .registry import TransportInterface

#: The number of a user's own transport (0: the shared ones), the origin, the credential's fingerprint.
BudgetKey: TypeAlias = "tuple[int, Origin, str | None]"

#: The most budgets that are kept although no client holds them: those that are not full.
MAX_BUDGETS: Final = 4096
_budgets: WeakValueDictionary[BudgetKey, SharedBudget] = WeakValueDictionary()
#: In order of their last use. A plain dict: an OrderedDict takes a hundred bytes more for each of them.
_spent: dict[BudgetKey, SharedBudget] = {}
_inside = Exclusion()


class SharedBudget(RetryBudget):
    """A `RetryBudget` that threads and loops share. While anything is taken from it, it outlives its clients."""

    __slots__ = ("__weakref__", "_key")

    def __init__(self, key: BudgetKey) -> None:
        super().__init__()
        self._key = key

    def take(self, cost: int, now: float) -> int | None:
        inside = _inside
        try:
            return inside.do(partial(self._take, cost, now))
        except Busy:
            answer = RetryBudget.take(copy(self), cost, now)
            inside.give(partial(self._take, cost, now))
            return answer

    def refund(self, cost: int) -> None:
        _inside.give(partial(self._refund, cost))

    def on_success(self) -> None:
        if self.tokens != self.max_tokens:
            _inside.give(self._on_success)

    # -- under the lock ----------------------------------------------------------------------------------------------

    def _take(self, cost: int, now: float) -> int | None:
        taken = super().take(cost, now)
        _spent.pop(self._key, None)
        _spent[self._key] = self
        if len(_spent) > MAX_BUDGETS:
            del _spent[next(iter(_spent))]
        return taken

    def _refund(self, cost: int) -> None:
        super().refund(cost)
        self._forget_if_whole()

    def _on_success(self) -> None:
        super().on_success()
        self._forget_if_whole()

    def _forget_if_whole(self) -> None:
        if self.untouched:
            _spent.pop(self._key, None)


def retry_budget(transport: TransportInterface | None, origin: Origin, credential_print: str | None) -> SharedBudget:
    """The budget of one (origin, credential), shared by all clients over the shared transports, or over this one."""
    key = (0 if transport is None else number_of(transport), origin, credential_print)
    budget = _budgets.get(key)
    if budget is not None:
        return budget
    made = SharedBudget(key)
    keep = partial(_budgets.setdefault, key, made)
    try:
        return _inside.do(keep)
    except Busy:
        _inside.give(keep)
        return made


def _begin_again() -> None:
    """In a forked child, where the thread that was inside does not exist."""
    global _inside  # noqa: PLW0603  the one name that all functions here look up
    _inside = Exclusion()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)
