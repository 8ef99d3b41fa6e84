"""What vendors take: their rules for the body of a chat request, executable, each with its source.

    violations("mistral", body)     what Mistral would refuse in this body, and who says so
    VENDORS                         the vendors whose rules are known; each is the name of a dialect

Rules of this package:
- It is written from the vendors' documents, SDKs and error messages, and not from our builders: it imports none.
- Pure functions of the body. They never raise, whatever JSON the body is.
- Nothing that a plain call imports may import it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from . import anthropic, ollama, openai_chat
from .base import Rule, Violation

if TYPE_CHECKING:
    from ...decode.jsontext import JSONObject

__all__ = ["VENDORS", "Rule", "Violation", "rules_of", "violations"]

#: Vendor -> its rules, under the current version of its API.
VENDORS: Final[Mapping[str, tuple[Rule, ...]]] = MappingProxyType({**openai_chat.ROWS, **anthropic.ROWS, **ollama.ROWS})


def rules_of(vendor: str, version: str | None = None) -> tuple[Rule, ...]:
    """The rules of a vendor. `version`: of its API, where it has versions (Anthropic's `anthropic-version`)."""
    if vendor not in VENDORS:
        raise ValueError(f"no rules are known of {vendor!r:.60}; there are some of {', '.join(VENDORS)}")
    return anthropic.under(version) if version and vendor == "anthropic" else VENDORS[vendor]


def violations(vendor: str, body: JSONObject, version: str | None = None) -> list[Violation]:
    """What `vendor` would refuse in the body of a chat request, in the order of its rules; empty if it would not."""
    found: list[Violation] = []
    for rule in rules_of(vendor, version):
        paths: list[str] = []
        rule.check(body, paths.append)
        found += [Violation(path, rule.name, rule.source) for path in paths]
    return found
