"""The classes of `sans_io.records` behave as those of the standard library's `dataclasses`, one beside the other."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
import typing
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cloud.llm
from cloud.llm import ChatResponse, Limits, RetryPolicy, Timeouts, Usage
from sans_io import records


def family(kind: Any, field: Any) -> dict[str, Any]:
    """The same five classes, made by this `dataclass`."""

    @kind(slots=True)
    class Mutable:
        """Fields with and without defaults."""

        a: Any
        b: Any = 2
        c: list[int] = field(default_factory=list)

        def both(self) -> Any:
            return (self.a, self.b)

    @kind(slots=True, unsafe_hash=True)
    class Hashable:
        a: Any
        b: Any = ""

    @kind(frozen=True, slots=True)
    class Frozen:
        a: Any
        b: Any = None
        c: tuple[int, ...] = field(default_factory=tuple)

    @kind(frozen=True, slots=True)
    class Single:
        a: Any

    @kind(frozen=True, slots=True)
    class Checked:
        seconds: float = 1.0

        def __post_init__(self) -> None:
            if self.seconds <= 0:
                raise ValueError("not positive")

    found = {made.__name__: made for made in (Mutable, Hashable, Frozen, Single, Checked)}
    for made in found.values():
        made.__qualname__ = made.__name__
    return found


OURS = family(records.dataclass, records.field)
THEIRS = family(dataclasses.dataclass, dataclasses.field)
#: Where pickle looks for them.
globals().update(OURS)

values = st.one_of(st.integers(0, 2), st.sampled_from([None, "", "x", (1, 2), 1.0, True]))
arguments = st.tuples(st.sampled_from(sorted(OURS)), st.lists(values, max_size=4), st.dictionaries(
    st.sampled_from(["a", "b", "c", "seconds", "other"]), values, max_size=2))  # fmt: skip


def built(classes: dict[str, Any], name: str, positional: list[Any], named: dict[str, Any]) -> Any:
    """The object, or the words of the error."""
    try:
        return classes[name](*positional, **named)
    except (TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}".replace("family.<locals>.", "")


@given(arguments, arguments)
def test_building_printing_comparing_and_hashing(one: Any, two: Any) -> None:
    ours, theirs = [built(OURS, *each) for each in (one, two)], [built(THEIRS, *each) for each in (one, two)]
    assert [repr(each) for each in ours] == [repr(each) for each in theirs]
    assert (ours[0] == ours[1]) == (theirs[0] == theirs[1])
    assert (ours[0] != ours[1]) == (theirs[0] != theirs[1])
    for mine, other in zip(ours, theirs, strict=True):
        assert mine != other or isinstance(mine, str)
        for act in (hash, dataclasses.asdict, dataclasses.astuple):
            assert outcome(act, mine) == outcome(act, other)


def outcome(act: Any, value: Any) -> Any:
    try:
        return act(value)
    except TypeError as error:
        return str(error)


@pytest.mark.parametrize("name", sorted(OURS))
def test_what_the_standard_library_knows_of_a_class(name: str) -> None:
    ours, theirs = OURS[name], THEIRS[name]
    assert dataclasses.is_dataclass(ours)
    shown = [
        [(each.name, each.type, each.default, each.default_factory) for each in dataclasses.fields(made)]
        for made in (ours, theirs)
    ]
    assert shown[0] == shown[1]
    assert ours.__dataclass_params__.frozen == theirs.__dataclass_params__.frozen
    assert ours.__match_args__ == theirs.__match_args__
    assert tuple(ours.__slots__) == tuple(theirs.__slots__)
    assert (ours.__module__, ours.__doc__) == (theirs.__module__, ours.__doc__)
    assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)
    assert ours.__init__.__annotations__ == theirs.__init__.__annotations__


def test_the_signature_is_known_before_the_first_object() -> None:
    fresh = family(records.dataclass, records.field)
    assert list(inspect.signature(fresh["Single"]).parameters) == ["a"]
    assert dataclasses.fields(family(records.dataclass, records.field)["Single"](1))[0].name == "a"


@pytest.mark.parametrize("classes", [OURS, THEIRS], ids=["ours", "theirs"])
def test_an_own_subclass(classes: dict[str, Any]) -> None:
    @dataclasses.dataclass(frozen=True)
    class More(classes["Frozen"]):  # type: ignore[misc]
        d: int = 4

    assert [field.name for field in dataclasses.fields(More)] == ["a", "b", "c", "d"]
    assert More(1) == More(1, None, (), 4) != More(1, 2)

    class Plain(classes["Mutable"]):  # type: ignore[misc]
        pass

    one = Plain(1)
    one.note = "instances of a subclass have a __dict__"
    assert (one, one.both(), repr(one)[-20:]) == (Plain(1), (1, 2), "Plain(a=1, b=2, c=[])"[-20:])
    assert one != classes["Mutable"](1)


@pytest.mark.parametrize("base", [RetryPolicy, Timeouts, ChatResponse])
@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one)), records.replace, dataclasses.replace],
    ids=["copy", "deepcopy", "pickle", "replace", "dataclasses.replace"],
)
def test_copies_of_a_subclass_have_its_own_fields(
    base: type, again: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Labelled(base):  # type: ignore[misc]
        label: str = ""
        note: str = dataclasses.field(default="", kw_only=True)

    frozen = base is not ChatResponse
    more = dataclasses.dataclass(frozen=frozen)(Labelled)
    monkeypatch.setitem(globals(), "Labelled", more)  # where pickle looks for it
    more.__qualname__ = "Labelled"
    one = more(label="mine", note="too")
    assert again(one) == one
    assert (again(one).label, again(one).note) == ("mine", "too")


def test_the_first_object_is_one_of_a_subclass_with_a_constructor_of_its_own() -> None:
    fresh = family(records.dataclass, records.field)

    class Own(fresh["Mutable"]):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(7)

    assert Own().both() == (7, 2)
    assert dataclasses.fields(Own)[0].name == "a"
    assert fresh["Mutable"](1).both() == (1, 2)


@pytest.mark.parametrize("classes", [OURS, THEIRS], ids=["ours", "theirs"])
def test_nothing_is_set_that_is_frozen_or_no_field(classes: dict[str, Any]) -> None:
    frozen, mutable = classes["Frozen"](1), classes["Mutable"](1)
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'a'"):
        frozen.a = 2
    with pytest.raises(FrozenInstanceError, match="cannot delete field 'a'"):
        del frozen.a
    with pytest.raises((FrozenInstanceError, TypeError)):  # before 3.13 the standard library fails with a TypeError
        frozen.other = 2
    with pytest.raises(AttributeError, match="other"):
        mutable.other = 2
    mutable.b = 3
    assert mutable.both() == (1, 3)
    assert frozen.a == 1
    assert classes["Mutable"](1).c is not classes["Mutable"](1).c, "each object has a list of its own"


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
@pytest.mark.parametrize("name", sorted(OURS))
def test_copies(name: str, again: Any) -> None:
    one = OURS[name](3)
    assert again(one) == one
    assert again(one) is not one


@pytest.mark.parametrize(
    ("classes", "replace"),
    [(OURS, records.replace), (OURS, dataclasses.replace), (THEIRS, dataclasses.replace)],
    ids=["ours", "ours by theirs", "theirs"],
)
def test_replace(classes: dict[str, Any], replace: Any) -> None:
    one = classes["Frozen"](1, b=2)
    assert replace(one, a=5) == classes["Frozen"](5, 2)
    with pytest.raises(TypeError, match="unexpected keyword argument 'other'"):
        replace(one, other=5)
    with pytest.raises(ValueError, match="not positive"):
        replace(classes["Checked"](), seconds=-1)


def test_match() -> None:
    match OURS["Mutable"](1, 5):
        case Mutable(1, b):  # type: ignore[name-defined]  # noqa: F821 - put there above
            assert b == 5
        case _:
            pytest.fail("not matched")


def test_what_users_do_with_public_types() -> None:
    response = ChatResponse("hello", usage=Usage(1, 2))
    assert dataclasses.asdict(response)["usage"]["output_tokens"] == 2
    assert dataclasses.replace(response, content="x").content == "x"
    assert {field.name for field in dataclasses.fields(Limits)} >= {"max_json", "max_head"}
    assert {RetryPolicy(): 1, Timeouts(total=3): 2}[Timeouts(total=3)] == 2
    assert pickle.loads(pickle.dumps(Timeouts(idle=2))) == Timeouts(idle=2)


@pytest.mark.parametrize(
    "name", sorted(name for name in cloud.llm.__all__ if dataclasses.is_dataclass(getattr(cloud.llm, name)))
)
def test_the_types_of_public_fields_can_be_read(name: str) -> None:
    """As validators and web frameworks read them, to make a schema of a class that a handler returns."""
    made = getattr(cloud.llm, name)
    assert typing.get_type_hints(made).keys() == {field.name for field in dataclasses.fields(made)}


def test_no_class_asks_the_standard_library_before_somebody_asks_the_class() -> None:
    probe = (
        "import sys\n"
        "before = set(sys.modules)  # what measures coverage is there already\n"
        "import sans_io.calls.call, sans_io.providers.openai_chat.codec, cloud.llm.openai\n"
        "from sans_io.chat.events import TextDelta\n"
        "assert TextDelta('x') == TextDelta('x') and repr(TextDelta('x')) == \"TextDelta(text='x', choice=0)\"\n"
        "assert 'dataclasses' not in set(sys.modules) - before\n"
    )
    subprocess.run([sys.executable, "-c", probe], check=True)
