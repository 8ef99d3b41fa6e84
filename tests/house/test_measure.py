"""The figures of the house are counted right, and this house meets its goals."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tests.house.measure import House, circles, count_arguments

ROOT = Path(__file__).parents[2]


def house(root: Path, **modules: str) -> House:
    """A made-up tree: `sans_io_chat_events="..."` is `sans_io/chat/events.py`, and every package has an `__init__`."""
    for name, text in modules.items():
        file = root / (name.replace("sans_io", "sans-io").replace("_", "/").replace("sans-io", "sans_io") + ".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text))
    for package in {parent for file in root.rglob("*.py") for parent in file.parents} - {root, *root.parents}:
        (package / "__init__.py").touch()
    return House(root)


@pytest.fixture(scope="module")
def ours() -> House:
    return House(ROOT)


# -- counting ---------------------------------------------------------------------------------------------------------


def test_a_circle_is_found_whichever_way_round_it_is_closed(tmp_path: Path) -> None:
    made = house(
        tmp_path,
        sans_io_chat_events="from ..decode.text import loads\nused = loads",
        sans_io_decode_text="if TYPE_CHECKING:\n    from sans_io.chat import events",
        sans_io_http_heads="from ..decode import text\nfrom . import body\nused = text",
        sans_io_http_body="",
    )
    assert made.packages() == {"chat", "decode", "http"}
    assert made.arrows() == {("chat", "decode"): 1, ("decode", "chat"): 1, ("http", "decode"): 1}
    assert circles(made.arrows()) == [("chat", "decode"), ("decode", "chat")]
    assert circles(made.arrows(types=False)) == []


def test_a_path_that_only_hands_on_is_no_room(tmp_path: Path) -> None:
    made = house(tmp_path, sans_io_sse="from .decode.text import loads\n__all__ = ['loads']", sans_io_decode_text="")
    assert made.arrows() == {}


def test_every_copy_counts_as_it_stands_in_its_file(tmp_path: Path) -> None:
    made = house(
        tmp_path,
        cloud_streams='''
            class Stream:
                def close(self):
                    """Text that does not count."""
                    one()
                    two()
                    three()
                    self._sync_four()

                def short(self):
                    one()
                    two()
                    three()

            class AsyncStream:
                async def aclose(self):
                    await one()
                    await two()
                    await three()
                    await self._async_four()

                async def short(self):
                    await one()
                    await two()
                    await three()
        ''',
    )
    assert made.written_twice() == [(6 + 5, "cloud.streams.close", "cloud.streams.aclose")]


def test_what_differs_by_more_than_await_is_not_written_twice(tmp_path: Path) -> None:
    made = house(
        tmp_path,
        cloud_a="def run():\n    one()\n    two()\n    three()\n    four()\n",
        cloud_b="async def run():\n    await one()\n    await two()\n    await three()\n    await five()\n",
    )
    assert made.written_twice() == []


def test_a_name_with_two_meanings_is_a_class_of_two_modules(tmp_path: Path) -> None:
    made = house(
        tmp_path,
        transports_pump="class Pump: ...\nclass Wakeup: ...",
        cloud_streams="class Pump: ...\ndef function():\n    class Wakeup: ...",
    )
    assert made.names_with_two_meanings() == {"Pump": ["transports.pump", "cloud.streams"]}


# -- this house -------------------------------------------------------------------------------------------------------


def test_the_core_has_at_most_eight_packages(ours: House) -> None:
    assert len(ours.packages()) <= 8


def test_the_rooms_of_the_core_import_each_other_in_no_circle(ours: House) -> None:
    assert circles(ours.arrows(types=False)) == []


def test_functions_of_twelve_arguments_are_rare(ours: House) -> None:
    many = [f"{name}.{node.name}" for name, node in ours.functions() if count_arguments(node) >= 12]
    assert len(many) <= 5, many


def test_at_most_150_lines_are_written_twice(ours: House) -> None:
    twice = ours.written_twice()
    assert sum(lines for lines, *_ in twice) <= 150, twice


def test_no_class_name_has_two_meanings(ours: House) -> None:
    assert ours.names_with_two_meanings() == {}


@pytest.mark.parametrize("package", ["transports", "cloud"])
def test_modules_import_each_other_in_no_circle(ours: House, package: str) -> None:
    """Imports for types included: a file is read after those that it names, and not together with them."""
    arrows = {(here, there) for here, there in ours.imports() if here.startswith(package) and there.startswith(package)}
    assert circles(arrows) == []


def test_arguments_of_every_kind_count(tmp_path: Path) -> None:
    made = house(tmp_path, cloud_a="def call(self, a, /, b, *rest, c=1, **more): ...")
    assert [count_arguments(node) for _, node in made.functions()] == [4]
