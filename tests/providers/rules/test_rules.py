"""The rules of vendors: what vendors were seen to take breaks none, and any JSON can be asked about."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sans_io.providers.registry import DIALECTS
from sans_io.providers.rules import VENDORS, Rule, Violation, violations
from tests.providers.rules.recorded import MISSING, exchanges

#: Rules that a recorded request breaks though it was answered, and why they stand all the same.
ACCEPTED_ALL_THE_SAME = {
    # The SDK writes `index: 0` into every call; users report that the API refuses an index.
    ("mistral", "a call has only keys that the API knows"),
    # Seen with "default": null in a tool of gpt-4o-mini; the documents and users say that it is refused.
    ("openai", "a strict schema has only keywords that strict mode knows"),
    # The recorder wrote other ids into the file.
    ("mistral", "ids of calls have nine letters or digits"),
}


@pytest.mark.skipif(MISSING, reason="the recordings are not here")
def test_what_a_vendor_was_seen_to_take_breaks_no_rule() -> None:
    asked = 0
    for exchange in exchanges():
        if exchange.vendor is None or exchange.request is None or exchange.status != 200:
            continue
        asked += 1
        # Older recordings sample under the version before.
        found = violations(exchange.vendor, exchange.request, "2023-06-01")
        found = [one for one in found if (exchange.vendor, one.rule) not in ACCEPTED_ALL_THE_SAME]
        assert found == [], exchange.id
    assert asked > 250


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 200) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=3), inside, max_size=3),
    max_leaves=8,
)


def _keys() -> list[str]:
    """Every word that the rules look for as a key."""
    words: set[str] = set()
    for name in ("base", "openai_chat", "anthropic", "ollama", "schemas"):
        module = sys.modules[f"sans_io.providers.rules.{name}"]
        assert module.__file__ is not None
        with open(module.__file__, encoding="utf-8") as text:  # noqa: PTH123
            words.update(re.findall(r'"([a-z$_A-Z]{2,24})"', text.read()))
    return sorted(words)


WORDS = st.sampled_from(_keys())
SHAPED = st.recursive(
    JSONS | WORDS,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(WORDS, inside, max_size=5),
    max_leaves=12,
)


@settings(max_examples=max(settings.default.max_examples // 2, 1))
@given(body=st.dictionaries(WORDS, SHAPED, max_size=8))
def test_any_json_can_be_asked_about(body: dict) -> None:
    for vendor in VENDORS:
        for found in (*violations(vendor, body), *violations(vendor, body, "2023-06-01")):
            assert isinstance(found, Violation)
            assert found.path


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_vendor_is_a_dialect_and_each_rule_has_a_name_of_its_own_and_a_source(vendor: str) -> None:
    assert vendor in DIALECTS
    rules = VENDORS[vendor]
    assert len({rule.name for rule in rules}) == len(rules)
    for rule in rules:
        assert isinstance(rule, Rule)
        assert rule.source
        assert rule.about in ("form", "value", "model")


def test_an_unknown_vendor_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no rules are known of 'nobody'; there are some of openai, azure"):
        violations("nobody", {})


def test_a_client_does_not_load_the_rules() -> None:
    code = (
        "import sys, cloud.llm\n"
        "from sans_io.providers.registry import WIRES\n"
        "for wire in WIRES.values(): __import__(f'sans_io.providers.{wire.package}.codec')\n"
        "assert not [name for name in sys.modules if '.rules' in name]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_openrouter_s_own_tools_stand_beside_functions() -> None:
    tools = [{"type": "openrouter:web_search"}, {"type": "function", "function": {"name": "f"}}]
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "tools": tools}
    for choice in ("auto", {"type": "openrouter:web_search"}, {"type": "function", "function": {"name": "f"}}):
        assert violations("openrouter", body | {"tool_choice": choice}) == []
        assert violations("xai", body | {"tool_choice": choice}) != []
