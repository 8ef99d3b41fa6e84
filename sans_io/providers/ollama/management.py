"""Operations on the models of an Ollama server, beside listing and pulling. Loaded when one of them is asked for.

    show(codec, "llama3.2") ──> Operation ──> response().raw, the server's document

Rules of this file:
- What the server would ignore, or misunderstand, is refused by name before anything is sent.
- A name goes out as it was given; the server compares names as `names` does.
- Deleting and copying are answered without a body: their status says it all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from ...chat.messages import chat_request
from ...errors import LLMBadRequestError
from ...http.http11 import HTTPRequest
from ...http.upload import Content, UploadRequest
from ..json_replies import RawReader
from .messages import build_body
from .names import checked_name
from .reply import PROVIDER, PullReader, reported_error

if TYPE_CHECKING:
    from ...chat.events import Event
    from ...chat.shapes import Message
    from ...decode.jsontext import JSON, JSONObject
    from ..base import Operation
    from .codec import OllamaCodec

_DIGEST: Final = re.compile(r"sha256[:-][0-9a-fA-F]{64}")


def show(codec: OllamaCodec, model: str, verbose: bool = False) -> Operation:
    """`POST /api/show`: what is known of a model; `verbose` with its whole vocabulary and all tensors."""
    body: JSONObject = {"model": checked_name(model)}
    if verbose:
        body["verbose"] = True
    return codec.asking("POST", "api/show", body, "json", model, partial(_Document, PROVIDER, codec.limits))


def running(codec: OllamaCodec) -> Operation:
    """`GET /api/ps`: the models that are in memory."""
    request = HTTPRequest(codec.head("GET", "api/ps"))
    return codec.operation_of(request, "json", None, partial(_Running, PROVIDER, codec.limits))


def delete(codec: OllamaCodec, model: str) -> Operation:
    """`DELETE /api/delete`."""
    return codec.asking("DELETE", "api/delete", {"model": checked_name(model)}, "json", model, _done(codec))


def copy(codec: OllamaCodec, source: str, destination: str) -> Operation:
    """`POST /api/copy`: the same model under another name; one that has the name is replaced."""
    body: JSONObject = {
        "source": checked_name(source, "source"),
        "destination": checked_name(destination, "destination"),
    }
    return codec.asking("POST", "api/copy", body, "json", source, _done(codec))


def load(codec: OllamaCodec, model: str, keep_alive: object = None, options: object = None) -> Operation:
    """`POST /api/generate` without a prompt: answered once the model is in memory, or with `keep_alive` 0 out of it."""
    body: JSONObject = {"model": checked_name(model), "stream": False}
    if keep_alive is not None:
        if isinstance(keep_alive, bool) or not isinstance(keep_alive, (str, int, float)):
            raise _bad(
                'keep_alive must be a number of seconds (-1: for good) or a string like "10m",'
                f" not {type(keep_alive).__name__}"
            )
        body["keep_alive"] = keep_alive
    if options is not None:
        body["options"] = _mapping(options, "options", '{"num_ctx": 8192}')
    return codec.asking("POST", "api/generate", body, "json", model, partial(_Document, PROVIDER, codec.limits))


def create(
    codec: OllamaCodec,
    model: str,
    from_: str | None = None,
    *,
    files: Mapping[str, str] | None = None,
    adapters: Mapping[str, str] | None = None,
    template: str | None = None,
    system: str | None = None,
    parameters: Mapping[str, JSON] | None = None,
    messages: Sequence[Message | Mapping[str, JSON]] | None = None,
    license: str | Sequence[str] | None = None,  # noqa: A002 - the server's word
    quantize: str | None = None,
) -> Operation:
    """`POST /api/create`: its events are `PullProgress`. `files` and `adapters`: name -> digest of an uploaded blob."""
    body: JSONObject = {"model": checked_name(model), "stream": True}
    if (from_ is None) == (files is None):
        raise _bad(
            "create_model() needs from_=, the name of a model, or files=, the files of one"
            + (", not both: the server ignores the files" if files is not None else "")
        )
    for name, text in (("from", from_), ("template", template), ("system", system), ("quantize", quantize)):
        if text is not None:
            body[name] = checked_name(text, "from_") if name == "from" else _text(text, name)
    for name, blobs in (("files", files), ("adapters", adapters)):
        if blobs is not None:
            body[name] = _blobs(blobs, name)
    if parameters is not None:
        body["parameters"] = _mapping(parameters, "parameters", '{"temperature": 0}')
    if messages is not None:
        body["messages"] = build_body(chat_request(messages, model))["messages"]
    if license is not None:
        texts = license if isinstance(license, (list, tuple)) else [license]
        body["license"] = [_text(one, "license") for one in texts]
    return codec.asking("POST", "api/create", body, "ndjson", model, partial(_CreateReader, model, codec.limits))


def has_blob(codec: OllamaCodec, digest: str) -> Operation:
    """`HEAD /api/blobs/<digest>`: a 404 if the server has no such file."""
    request = HTTPRequest(codec.head("HEAD", f"api/blobs/{digest}"))
    return codec.operation_of(request, "json", None, _done(codec))


def upload_blob(codec: OllamaCodec, digest: str, content: Content) -> Operation:
    """`POST /api/blobs/<digest>`: the server checks that the content has this digest."""
    head = codec.head("POST", f"api/blobs/{digest}", (("Content-Type", "application/octet-stream"),))
    return codec.operation_of(UploadRequest(head, content), "json", None, _done(codec))


def is_digest(text: object) -> bool:
    """Whether it names a blob: "sha256:" and 64 hexadecimal digits."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


# -- arguments --------------------------------------------------------------------------------------------------------


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise _bad(f"{name} must be a string, not {type(value).__name__}")
    return value


def _mapping(value: object, name: str, example: str) -> JSONObject:
    if not isinstance(value, Mapping):
        raise _bad(f"{name} must be a dict like {example}, not {type(value).__name__}")
    return dict(value)


def _blobs(value: object, name: str) -> JSONObject:
    blobs = _mapping(value, name, '{"model.gguf": pathlib.Path("model.gguf")}')
    for file, digest in blobs.items():
        if not is_digest(digest):
            raise _bad(
                f"{name}[{file!r:.60}] must be a pathlib.Path of the file,"
                ' or the digest of one that the server has ("sha256:...")'
            )
    return blobs


def _bad(message: str) -> LLMBadRequestError:
    return LLMBadRequestError(message, code="invalid_argument", provider=PROVIDER)


# -- replies ----------------------------------------------------------------------------------------------------------


class _Document(RawReader):
    """Any JSON object that is no error."""

    def read(self, value: JSONObject) -> None:
        if value.get("error"):
            self.fail(reported_error(value, self.model))
        else:
            self._raw = value


class _Running(_Document):
    """The list of models in memory."""

    def read(self, value: JSONObject) -> None:
        models = value.get("models", value)
        if isinstance(models, list) or models is None or value.get("error"):
            super().read(value)
        else:
            self.unexpected(value)


class _CreateReader(PullReader):
    """Progress of a creation."""

    def _cut(self) -> str:
        return super()._cut().replace("the download", "the creation", 1)


class _Done(_Document):
    """Nothing, or a document that nobody needs."""

    def receive_eof(self) -> list[Event]:
        if self.error is None and not self.content_events:
            self.ended = True
        return super().receive_eof()


def _done(codec: OllamaCodec) -> Callable[[], _Done]:
    return partial(_Done, PROVIDER, codec.limits)
