"""docs/vendors.md: which vendor has which rule, who says so, and how it is tested.

python -m tests.providers.rules.table        prints the document
"""

from __future__ import annotations

from sans_io.providers.rules import VENDORS, Rule, rules_of

#: Names of columns.
SHORT = {
    "openai": "OpenAI", "azure": "Azure", "groq": "Groq", "mistral": "Mistral", "deepseek": "DeepSeek", "xai": "xAI",
    "cerebras": "Cerebras", "openrouter": "OpenRouter", "gemini": "Gemini", "anthropic": "Anthropic",
    "ollama": "Ollama",
}  # fmt: skip
TESTED = {
    "form": "laws",
    "value": "server",
    "model": "named server",
}
HEAD = """# What vendors refuse

`sans_io.providers.rules.violations(vendor, body)` says what a vendor would refuse in the body of a chat request: each
violation is a path, a rule of the table below, and its source. Test servers (`FakeLLMServer(vendor="mistral")`) refuse
the same, in the vendor's words. This page is made of the rules; a test compares it with them.

How a rule is tested:

- *laws*: how a request is built. No conversation, made up or recorded, and no option makes a client send what breaks
  it; a client refuses by name what it cannot say (`tests/providers/rules/test_laws.py`).
- *server*: a value that the caller chose and the vendor does not take. A client sends it, or refuses it by name; the
  test server refuses it.
- *named server*: what depends on the model. The test server refuses it where `vendor=` is given.

Each rule is also shown a body that breaks it (`tests/providers/rules/test_each_rule.py`), and what vendors were seen to
take breaks none (`tests/providers/rules/test_rules.py`).
"""


def _rows() -> dict[tuple[str, str, str], list[str]]:
    """(rule, source, about) -> vendors."""
    rows: dict[tuple[str, str, str], list[str]] = {}

    def add(vendor: str, rule: Rule) -> None:
        has = rows.setdefault((rule.name, rule.source, rule.about), [])
        if vendor not in has:
            has.append(vendor)

    for vendor in VENDORS:
        for rule in rules_of(vendor):
            add(vendor, rule)
    for rule in rules_of("anthropic", "2023-06-01"):
        if all(rule.name != name for name, *_ in rows):
            add("anthropic, version 2023-06-01", rule)
    return rows


def document() -> str:
    lines = [HEAD, "| Vendors | Rule | Source | Tested |", "|---|---|---|---|"]
    chat = [vendor for vendor in VENDORS if vendor not in ("anthropic", "ollama")]
    for (name, source, about), vendors in _rows().items():
        who = "all of chat completions" if vendors == chat else ", ".join(SHORT.get(one, one) for one in vendors)
        name, source = (text.replace("|", "\\|").replace("<", "&lt;") for text in (name, source))
        lines.append(f"| {who} | {name} | {source} | {TESTED[about]} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(document(), end="")
