"""`dataclass`, `field` and `replace` as in the standard library's `dataclasses`, at a tenth of their cost.

A dataclass of the standard library compiles up to six functions when its class is made, which takes 0.4 to 0.8 ms,
even if no object is ever built, compared or printed: for our classes that was half the cost of a first call. Here the
methods are shared, the constructor is compiled when the first object is built, and what `dataclasses` itself needs to
know about a class is made when `fields()`, `asdict()` or a subclass asks for it.

Rules of this file:
- To type checkers the three names are the standard library's.
- Objects compare, hash, print, match, copy and pickle as those of `dataclasses(slots=True)` do; a test compares the
  two. What no class here uses is left out: inherited fields, `init=False`, `ClassVar`, keyword-only.
- A constructor costs what it costs there, or less: events are built for every piece of a stream.
"""

from __future__ import annotations

from operator import attrgetter
from types import MethodType
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass, field, replace
    from types import FunctionType
    from typing import ClassVar, Final, NoReturn, Protocol

    class Record(Protocol):
        """An object of such a class."""

        __match_args__: ClassVar[tuple[str, ...]]

        @staticmethod
        def _values(record: Record) -> tuple[object, ...]: ...
else:

    def dataclass(*, slots, frozen=False, unsafe_hash=False):  # noqa: ARG001 - always slotted; for type checkers
        return lambda plain: _with_slots(plain, frozen, frozen or unsafe_hash)

    def field(*, default_factory):
        return Factory(default_factory)

    def replace(record, /, **changes):
        return record.__replace__(**changes)


__all__ = ["Factory", "dataclass", "field", "replace"]


class Factory:
    """In place of a default: makes the value for each object."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[], object]) -> None:
        self.make = make


def _with_slots(plain: type, frozen: bool, hashable: bool) -> type:
    names = tuple(plain.__annotations__)
    body = {name: value for name, value in vars(plain).items() if name not in ("__dict__", "__weakref__")}
    defaults = {name: body.pop(name) for name in names if name in body}
    lazy = {
        "__init__": _LazyAttribute(lambda made, _: _constructor(made, defaults, frozen)),
        "__dataclass_fields__": _LazyAttribute(lambda made, name: getattr(_standard(made, defaults, frozen), name)),
        "__dataclass_params__": _LazyAttribute(lambda made, name: getattr(_standard(made, defaults, frozen), name)),
    }
    shared = {"__slots__": names, "__match_args__": names, "_values": staticmethod(_reader(names))}
    methods = _METHODS | (_FROZEN if frozen else {}) | {"__hash__": _hashed if hashable else None}
    made = type(plain)(plain.__name__, plain.__bases__, methods | body | shared | lazy)
    made.__qualname__ = plain.__qualname__
    return made


def _reader(names: tuple[str, ...]) -> Callable[[object], tuple[object, ...]]:
    """What reads all fields of an object."""
    read = attrgetter(*names)
    return read if len(names) > 1 else lambda record: (read(record),)


# -- the methods of all of them ---------------------------------------------------------------------------------------


def _equal(self: Record, other: object) -> bool:
    return self._values(self) == self._values(other) if other.__class__ is self.__class__ else NotImplemented


def _printed(self: Record) -> str:
    fields = ", ".join(f"{name}={value!r}" for name, value in _fields(self).items())
    return f"{type(self).__qualname__}({fields})"


def _replaced(self: Record, /, **changes: object) -> object:
    return type(self)(**{**_fields(self), **changes})


def _fields(self: Record) -> dict[str, object]:
    return {name: getattr(self, name) for name in _names(self)}


def _names(self: Record) -> tuple[str, ...]:
    """Those of a subclass too, which the standard library may have given fields of its own."""
    if "_values" in vars(type(self)):
        return self.__match_args__
    from dataclasses import fields

    return tuple(each.name for each in fields(cast("type", type(self))))


def _hashed(self: Record) -> int:
    return hash(self._values(self))


def _refuse_setting(_self: object, name: str, _value: object) -> NoReturn:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_deleting(_self: object, name: str) -> NoReturn:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _state(self: Record) -> tuple[object, ...]:
    return tuple(_fields(self).values())


def _set_state(self: Record, state: tuple[object, ...]) -> None:
    for name, value in zip(_names(self), state, strict=True):
        object.__setattr__(self, name, value)


_METHODS: Final[dict[str, object]] = {"__eq__": _equal, "__repr__": _printed, "__replace__": _replaced}
_FROZEN: Final[dict[str, object]] = {
    "__setattr__": _refuse_setting,
    "__delattr__": _refuse_deleting,
    "__getstate__": _state,
    "__setstate__": _set_state,
}


# -- what is made when it is first asked for --------------------------------------------------------------------------


class _LazyAttribute:
    """An attribute of a class, made when it is first asked for."""

    __slots__ = ("home", "make", "name")

    def __init__(self, make: Callable[[type, str], object]) -> None:
        self.make = make

    def __set_name__(self, home: type, name: str) -> None:
        self.home = home
        self.name = name

    def __get__(self, instance: object, _owner: type) -> object:
        value = self.make(self.home, self.name)
        setattr(self.home, self.name, value)
        return value if instance is None or not callable(value) else MethodType(value, instance)


def _constructor(made: type, defaults: dict[str, object], frozen: bool) -> object:
    """The `__init__` one would write by hand."""
    scope: dict[str, object] = {"_Factory": Factory}
    arguments, lines = ["self"], []
    for name in made.__annotations__:
        value = name
        if name in defaults:
            scope[f"_default_{name}"] = defaults[name]
            arguments.append(f"{name}=_default_{name}")
            if isinstance(defaults[name], Factory):
                value = f"{name}.make() if {name}.__class__ is _Factory else {name}"
        else:
            arguments.append(name)
        if frozen:
            scope[f"_set_{name}"] = vars(made)[name].__set__
            lines.append(f" _set_{name}(self, {value})")
        else:
            lines.append(f" self.{name} = {value}")
    if hasattr(made, "__post_init__"):
        lines.append(" self.__post_init__()")
    exec("\n".join((f"def __init__({', '.join(arguments)}):", *lines)), scope)  # noqa: S102 - of names in our own code
    init = cast("FunctionType", scope["__init__"])
    init.__qualname__ = f"{made.__qualname__}.__init__"
    init.__module__ = made.__module__
    init.__annotations__ = {**made.__annotations__, "return": None}
    return init


def _standard(made: type, defaults: dict[str, object], frozen: bool) -> type:
    """A class of the standard library's with the same fields."""
    from dataclasses import MISSING, field, make_dataclass

    fields: list[tuple[str, str, object]] = []
    for name, kind in made.__annotations__.items():
        default = defaults.get(name, MISSING)
        if isinstance(default, Factory):
            fields.append((name, kind, field(default_factory=default.make)))
        else:
            fields.append((name, kind, field(default=default)))
    return make_dataclass(made.__name__, fields, frozen=frozen)
