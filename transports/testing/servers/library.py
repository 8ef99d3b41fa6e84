"""The part of an Ollama server that keeps models: list, show, pull, create, copy, delete, load, files, version.

Rules of this file:
- Names are the same model as on the real server: `SMOL`, `library/smol` and `registry.ollama.ai/library/smol:latest`.
- A pull or a creation that succeeds changes the list at once; its progress is only told afterwards.
- What the real server refuses is refused with its status and words (0.17.4), its odd 500s included.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from .script import ReceivedRequest, RefusedError, ReplyPlan, ScriptedError
from .served import parse_body, to_json

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from sans_io.decode.jsontext import JSON, JSONObject

VERSION = "0.17.4"
MADE = "2026-11-22T12:00:00Z"
_REGISTRY = "registry.ollama.ai"


#: What names are made of. Each is a token, and a host may have a port.
_NAME: Final = re.compile(
    r"(?:(?:(?:https?://)?(?P<host>\w[\w.:-]{0,349})/)?(?P<namespace>\w[\w-]{0,79})/)?"
    r"(?P<model>\w[\w.-]{0,79})(?::(?P<tag>\w[\w.-]{0,79}))?",
    re.ASCII,
)
_BLOB: Final = re.compile(r"/api/blobs/(sha256[:-][0-9a-fA-F]{64})")


class ModelLibrary:
    """`names` are there from the start; a pull of one of `unpullable` fails as that of an unknown model does.

    `pull_steps` is how many progress lines each layer of a pull gets, `pull_delay` the seconds between lines. `running`
    are the names of the models in memory, `blobs` the files that were uploaded, by digest. `made` are the requests that
    models were created by.
    """

    def __init__(self, names: Iterable[str], unpullable: Collection[str] = ()) -> None:
        self.names = [tagged(name) for name in names]
        self.unpullable = {_key(name) for name in unpullable}
        self.pull_steps = 4
        self.pull_delay = 0.0
        self.running: list[str] = []
        self.blobs: dict[str, bytes] = {}
        self.made: dict[str, JSONObject] = {}

    def require(self, name: str) -> str:
        """The listed name of a model that is here; refuses with the real server's 404 if it is not."""
        found = self._find(name)
        if found is None:
            raise RefusedError(ScriptedError(f"model '{name}' not found", 404))
        return found

    def _find(self, name: str) -> str | None:
        return next((each for each in self.names if _key(each) == _key(name)), None)

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
                return _json({"models": [self._in_memory(name) for name in self.running]})
            case "POST", "/api/show":
                return self._show(parse_body(request.body))
            case "POST", "/api/pull":
                return self._pull(parse_body(request.body))
            case "POST", "/api/create":
                return self._create(parse_body(request.body))
            case "POST", "/api/copy":
                return self._copy(parse_body(request.body))
            case "POST", "/api/generate":
                return self._load(parse_body(request.body))
            case "DELETE", "/api/delete":
                name = _name(parse_body(request.body))
                if not _NAME.fullmatch(name):
                    raise RefusedError(ScriptedError(f'name "{name}" is invalid', 400))
                self._remove(self.require(name))
                return ReplyPlan(200, (), (), "length")
            case "HEAD" | "POST", _ if request.path.startswith("/api/blobs/"):
                return self._blob(request)
        return None

    def _remove(self, name: str) -> None:
        self.names.remove(name)
        if name in self.running:
            self.running.remove(name)

    def _add(self, name: str) -> None:
        if self._find(name) is None:
            self.names.append(_shortest(name))

    def _copy(self, body: JSONObject) -> ReplyPlan:
        for role in ("source", "destination"):
            if not _NAME.fullmatch(body.get(role) or ""):
                raise RefusedError(ScriptedError(f'{role} "{body.get(role, "")}" is invalid', 400))
        if self._find(body["source"]) is None:
            raise RefusedError(ScriptedError(f'model "{body["source"]}" not found', 404))
        self._add(body["destination"])
        return ReplyPlan(200, (), (), "length")

    def _load(self, body: JSONObject) -> ReplyPlan | None:
        """A prompt would be a completion, which nobody needs here."""
        if body.get("prompt"):
            return None
        name = self.require(_name(body))
        refuse_bad_options(body.get("options"))
        lets_go = body.get("keep_alive") == 0
        if name in self.running:
            self.running.remove(name)
        if not lets_go:
            self.running.insert(0, name)
        reason = "unload" if lets_go else "load"
        return _json({"model": body["model"], "created_at": MADE, "response": "", "done": True, "done_reason": reason})

    def _blob(self, request: ReceivedRequest) -> ReplyPlan:
        found = _BLOB.fullmatch(request.path)
        if found is None:
            raise RefusedError(ScriptedError("invalid digest format", 400))
        digest = found[1].replace("-", ":")
        if request.method == "HEAD":
            if digest not in self.blobs:
                raise RefusedError(ScriptedError(f'blob "{digest}" not found', 404))
            return ReplyPlan(200, (), (), "length")
        got = "sha256:" + hashlib.sha256(request.body).hexdigest()
        if got != digest:
            raise RefusedError(ScriptedError(f'digest mismatch, expected "{digest}", got "{got}"', 400))
        known = digest in self.blobs
        self.blobs[digest] = request.body
        return ReplyPlan(200 if known else 201, (), (), "length")

    def _create(self, body: JSONObject) -> ReplyPlan:
        name = body.get("model") or body.get("name") or ""
        if not _NAME.fullmatch(name):
            raise RefusedError(ScriptedError("invalid model name", 400))
        lines: list[JSONObject] = []
        if body.get("from"):
            if self._find(body["from"]) is None:
                lines += self._progress(body["from"])
            lines += [{"status": "using existing layer sha256:" + _digest(body["from"])}]
        elif body.get("files") is None:
            raise RefusedError(ScriptedError("neither 'from' or 'files' was specified", 400))
        elif not any(file.endswith((".gguf", ".safetensors")) for file in body["files"]):
            raise RefusedError(ScriptedError("unknown type", 400))
        else:
            lines += [{"status": "parsing GGUF"}]
            for digest in {**body["files"], **(body.get("adapters") or {})}.values():
                if digest not in self.blobs:
                    path = f"/usr/share/ollama/.ollama/models/blobs/{digest.replace(':', '-')}"
                    lines += [{"error": f"open {path}: no such file or directory"}]
        if "error" not in lines[-1]:
            lines += [{"status": "writing manifest"}, {"status": "success"}]
            self.made[tagged(name)] = body
            self._add(name)
        return self._stream(lines, body)

    def _pull(self, body: JSON) -> ReplyPlan:
        name = _name(body)
        if not _NAME.fullmatch(name):
            raise RefusedError(ScriptedError("invalid model name", 400))
        return self._stream(list(self._progress(name)), body)

    def _stream(self, lines: list[JSONObject], body: JSONObject) -> ReplyPlan:
        if body.get("stream") is False:
            if "error" in lines[-1]:
                raise RefusedError(ScriptedError(lines[-1]["error"], 500))
            return _json(lines[-1])
        pieces = tuple((self.pull_delay if index else 0.0, to_json(line) + b"\n") for index, line in enumerate(lines))
        return ReplyPlan(200, (("content-type", "application/x-ndjson"),), pieces, "chunked")

    def _progress(self, name: str) -> Iterator[JSONObject]:
        yield {"status": "pulling manifest"}
        if _key(name) in self.unpullable:
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
        self._add(name)

    def _show(self, body: JSON) -> ReplyPlan:
        name = _name(body)
        if not _NAME.fullmatch(name):
            raise RefusedError(ScriptedError(f"unqualified name: {'/'.join(_key(name))}", 500))
        name = self.require(name)
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

    def _in_memory(self, name: str) -> JSONObject:
        entry = self._entry(name)
        del entry["modified_at"]
        return {**entry, "expires_at": "2026-11-22T12:05:00.123456789Z", "size_vram": 0, "context_length": 4096}

    def _entry(self, name: str) -> JSONObject:
        return {
            "name": name,
            "model": name,
            "modified_at": MADE,
            "size": 1_900_000_487,
            "digest": _digest(name),
            "details": {"format": "gguf", "family": "test", "parameter_size": "3B", "quantization_level": "Q4_K_M"},
        }


def tagged(name: str) -> str:
    """`llama3.2` means `llama3.2:latest`; a registry's port is no tag."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _key(name: str) -> tuple[str, ...]:
    """Equal for names of one model."""
    found = _NAME.fullmatch(name)
    if found is None:
        return (name,)
    host, namespace, model, tag = found["host"], found["namespace"], found["model"], found["tag"]
    return tuple(part.lower() for part in (host or _REGISTRY, namespace or "library", model, tag or "latest"))


def _shortest(name: str) -> str:
    """As the server lists it: without what is the default, except the tag."""
    return tagged(re.sub(rf"^(?:https?://)?(?:{_REGISTRY}/)?(?:library/(?=[^/]+$))?", "", name, flags=re.IGNORECASE))


def refuse_bad_options(options: JSON) -> None:
    """The refusal of an option of the wrong type, which the real server sends as a 500."""
    for name, value in (options or {}).items():
        kind = _OPTIONS.get(name)
        if kind is None or value is None:
            continue
        wrong = (
            not isinstance(value, list) if kind == "array"
            else isinstance(value, bool) != (kind == "boolean") or not isinstance(value, (int, float))
        )  # fmt: skip
        if wrong:
            raise RefusedError(ScriptedError(f'option "{name}" must be of type {kind}', 500))
        if isinstance(value, list) and not all(isinstance(each, str) for each in value):
            raise RefusedError(ScriptedError(f'option "{name}" must be of an array of strings', 500))


#: The options that are known, by what they must be; others are ignored.
_OPTIONS: Final = {
    **dict.fromkeys(
        ("num_keep", "seed", "num_predict", "top_k", "repeat_last_n", "num_ctx", "num_batch", "num_gpu", "main_gpu",
         "num_thread"),
        "integer",
    ),
    **dict.fromkeys(
        ("top_p", "min_p", "typical_p", "temperature", "repeat_penalty", "presence_penalty", "frequency_penalty"),
        "float32",
    ),
    "stop": "array",
    "use_mmap": "boolean",
}  # fmt: skip


def _name(body: JSON) -> str:
    name = body.get("model") or body.get("name")
    if not isinstance(name, str) or not name:
        raise RefusedError(ScriptedError("model is required", 400))
    return name


def _json(value: JSON) -> ReplyPlan:
    return ReplyPlan(200, (("content-type", "application/json; charset=utf-8"),), ((0.0, to_json(value)),), "length")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
