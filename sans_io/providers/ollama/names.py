"""Names of models as Ollama reads and compares them (`types/model/name.go` of its server).

    [scheme://][host/][namespace/]model[:tag]

Rules of this file:
- What is left out is registry.ollama.ai, library and latest; case and scheme do not matter.
- A colon before a slash is a registry's port. An empty part is no default: it makes a name that no model has.
"""

from __future__ import annotations

from typing import TypeAlias

from ...errors import LLMBadRequestError

#: Host, namespace, model and tag, in lower case.
NameKey: TypeAlias = tuple[str, str, str, str]


def name_key(name: str) -> NameKey:
    """What two names have in common that mean the same model."""
    if name.isascii():  # others are no names; lowering them could make one (the Kelvin sign becomes a k)
        name = name.lower()
    path, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        path, tag = name, "latest"
    path, slash, model = path.rpartition("/")
    if not slash:
        return "registry.ollama.ai", "library", model, tag
    host, slash, namespace = path.rpartition("/")
    if not slash:
        return "registry.ollama.ai", namespace, model, tag
    return host.rpartition("://")[2], namespace, model, tag


def full_model_name(name: str) -> str:
    """`name` with its tag: "llama3.2" means "llama3.2:latest"."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def checked_name(name: object, what: str = "model_name") -> str:
    """The name without white space around it. Raises `LLMBadRequestError` for what cannot be one."""
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise LLMBadRequestError(f"{what} must be a non-empty printable string", code="invalid_argument")
    return name.strip()
