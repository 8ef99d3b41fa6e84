"""The part of an Ollama server that keeps models: list, show, pull, delete, version.

Rules of this file:
- A name without a tag means `name:latest`, here as on the real server.
- A pull that succeeds changes the list at once; its progress is only told afterwards.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from .script import ReceivedRequest, RefusedError, ReplyPlan, ScriptedError
from .served import parse_body, to_json

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from sans_io.decode.jsontext import JSON, JSONObject

VERSION = "0.13.2"


class ModelLibrary:
    """`names` are there from the start; a pull of one of `unpullable` fails as that of an unknown model does.

    `pull_steps` is how many progress lines each layer of a pull gets, `pull_delay` the seconds between lines.
    """

    def __init__(self, names: Iterable[str], unpullable: Collection[str] = ()) -> None:
        self.names = [tagged(name) for name in names]
        self.unpullable = {tagged(name) for name in unpullable}
        self.pull_steps = 4
        self.pull_delay = 0.0

    def require(self, name: str) -> str:
        """The tagged name of a model that is here; refuses with the real server's 404 if it is not."""
        if tagged(name) not in self.names:
            raise RefusedError(ScriptedError(f"model '{name}' not found", 404))
        return tagged(name)

    def handle(self, request: ReceivedRequest) -> ReplyPlan | None:
        """The reply to a request about models; None if this is not one."""
        match request.method, request.path:
            case "GET" | "HEAD", "/":
                return ReplyPlan(200, (("content-type", "text/plain"),), ((0.0, b"Ollama is running"),), "length")
            case "GET" | "HEAD", "/api/version":
                return _json({"version": VERSION})
            case "GET" | "HEAD", "/api/tags":
                return _json({"models": [self._entry(name) for name in self.names]})
            case "GET", "/api/ps":
                return _json({"models": []})
            case "POST", "/api/show":
                return self._show(parse_body(request.body))
            case "POST", "/api/pull":
                return self._pull(parse_body(request.body))
            case "DELETE", "/api/delete":
                self.names.remove(self.require(_name(parse_body(request.body))))
                return ReplyPlan(200, (), (), "length")
        return None

    def _pull(self, body: JSON) -> ReplyPlan:
        name = _name(body)
        lines = list(self._progress(name))
        if body.get("stream") is False:
            if "error" in lines[-1]:
                raise RefusedError(ScriptedError(lines[-1]["error"], 500))
            return _json(lines[-1])
        pieces = tuple((self.pull_delay if index else 0.0, to_json(line) + b"\n") for index, line in enumerate(lines))
        return ReplyPlan(200, (("content-type", "application/x-ndjson"),), pieces, "chunked")

    def _progress(self, name: str) -> Iterator[JSONObject]:
        yield {"status": "pulling manifest"}
        if tagged(name) in self.unpullable:
            yield {"error": "pull model manifest: file does not exist"}
            return
        for layer, total in (("model", 1_900_000_000), ("config", 487)):
            digest = "sha256:" + _digest(f"{name} {layer}")
            line: JSONObject = {"status": f"pulling {digest[7:19]}", "digest": digest, "total": total}
            yield line  # nothing is complete yet: the field is left out
            for step in range(1, self.pull_steps + 1):
                yield {**line, "completed": total * step // self.pull_steps}
        for status in ("verifying sha256 digest", "writing manifest", "success"):
            yield {"status": status}
        if tagged(name) not in self.names:
            self.names.append(tagged(name))

    def _show(self, body: JSON) -> ReplyPlan:
        name = self.require(_name(body))
        entry = self._entry(name)
        return _json(
            {
                "license": "test",
                "modelfile": f"FROM {name}",
                "parameters": "",
                "template": "{{ .Prompt }}",
                "details": entry["details"],
                "model_info": {"general.architecture": "test", "test.context_length": 32768},
                "capabilities": ["completion", "tools"],
            }
        )

    def _entry(self, name: str) -> JSONObject:
        return {
            "name": name,
            "model": name,
            "modified_at": "2026-11-22T12:00:00Z",
            "size": 1_900_000_487,
            "digest": _digest(name),
            "details": {"format": "gguf", "family": "test", "parameter_size": "3B", "quantization_level": "Q4_K_M"},
        }


def tagged(name: str) -> str:
    """`llama3.2` means `llama3.2:latest`; a registry's port is no tag."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _name(body: JSON) -> str:
    name = body.get("model") or body.get("name")
    if not isinstance(name, str) or not name:
        raise RefusedError(ScriptedError("model is required", 400))
    return name


def _json(value: JSON) -> ReplyPlan:
    return ReplyPlan(200, (("content-type", "application/json; charset=utf-8"),), ((0.0, to_json(value)),), "length")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
