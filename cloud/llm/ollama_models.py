"""What an Ollama server says of its models, as records; and files that are sent to it. Loaded at first use.

Rules of this file:
- A record shows what everybody asks for; `raw` is the server's whole document.
- What a server leaves out, or spells in a way nobody foresaw, is empty or None, never an error.
- A file is read in pieces, and each piece again when a request is tried again.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sans_io.errors import LLMBadRequestError
from sans_io.providers.json_replies import count
from sans_io.records import dataclass

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from types import TracebackType

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ModelDetails:
    """What a model is made of, in the server's words ("gguf", "llama", "3.2B", "Q4_K_M"); "" where it does not say."""

    format: str = ""
    family: str = ""
    families: tuple[str, ...] = ()
    parameter_size: str = ""
    quantization_level: str = ""
    parent_model: str = ""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What `show_model()` returns.

    `capabilities`: words like "completion", "tools", "vision", "thinking", "embedding". `context_length`: tokens that
    the model was made for; a server may give it less. `parameters`, `template`, `system`, `license`, `modelfile`: texts
    of the Modelfile, "" where there is none. `model_info`: what the file itself says ("general.architecture" ...).
    """

    details: ModelDetails
    capabilities: tuple[str, ...]
    context_length: int | None
    parameters: str
    template: str
    system: str
    license: str
    modelfile: str
    modified_at: datetime | None
    model_info: dict[str, Any]
    raw: dict[str, Any]


@dataclass(frozen=True, slots=True)
class RunningModel:
    """A model in memory. `size` and `size_vram` are bytes, all of it and what is on graphics cards; `context_length` is
    in tokens; it is unloaded at `expires_at` unless it is used before.
    """

    name: str
    digest: str
    size: int | None
    size_vram: int | None
    context_length: int | None
    expires_at: datetime | None
    details: ModelDetails
    raw: dict[str, Any]


def model_info(raw: dict[str, Any]) -> ModelInfo:
    """From the document of `/api/show`."""
    info = _of(dict, raw.get("model_info")) or {}
    return ModelInfo(
        details=_details(raw.get("details")),
        capabilities=_words(raw.get("capabilities")),
        context_length=count(info.get(f"{info.get('general.architecture')}.context_length")),
        parameters=_text(raw.get("parameters")),
        template=_text(raw.get("template")),
        system=_text(raw.get("system")),
        license=_text(raw.get("license")),
        modelfile=_text(raw.get("modelfile")),
        modified_at=_time(raw.get("modified_at")),
        model_info=info,
        raw=raw,
    )


def running_models(raw: dict[str, Any]) -> list[RunningModel]:
    """From the document of `/api/ps`."""
    return [
        RunningModel(
            name=_text(model.get("name")) or _text(model.get("model")),
            digest=_text(model.get("digest")),
            size=count(model.get("size")),
            size_vram=count(model.get("size_vram")),
            context_length=count(model.get("context_length")),
            expires_at=_time(model.get("expires_at")),
            details=_details(model.get("details")),
            raw=model,
        )
        for model in raw.get("models") or ()
        if isinstance(model, dict)
    ]


class FileContent(AbstractContextManager["FileContent"]):
    """A file to be uploaded. `digest` is "sha256:..." once `hashing()` has been gone through. Raises `OSError`."""

    def __init__(self, path: os.PathLike[str]) -> None:
        self._file = Path(path).open("rb")  # noqa: SIM115 - closed at the end of the upload
        self._size = 0
        self.digest = ""

    def hashing(self) -> Iterator[None]:
        """Read it all, with a pause after each MiB. Raises `LLMBadRequestError` if nothing is in it."""
        digest = sha256()
        while piece := self._file.read(1 << 20):
            digest.update(piece)
            self._size += len(piece)
            yield
        if not self._size:
            raise LLMBadRequestError(f"{self._file.name} is empty", code="invalid_argument", provider="ollama")
        self.digest = f"sha256:{digest.hexdigest()}"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, piece: slice) -> memoryview:
        start, stop, _ = piece.indices(self._size)
        self._file.seek(start)
        data = self._file.read(stop - start)
        if len(data) != stop - start:
            raise LLMBadRequestError(
                f"{self._file.name} became shorter while it was sent", code="invalid_argument", provider="ollama"
            )
        return memoryview(data)


def _of(kind: type[_T], value: object) -> _T | None:
    return value if isinstance(value, kind) else None


def _text(value: object) -> str:
    return _of(str, value) or ""


def _words(value: object) -> tuple[str, ...]:
    return tuple(word for word in _of(list, value) or () if isinstance(word, str))


def _details(value: object) -> ModelDetails:
    said = _of(dict, value) or {}
    return ModelDetails(
        format=_text(said.get("format")),
        family=_text(said.get("family")),
        families=_words(said.get("families")),
        parameter_size=_text(said.get("parameter_size")),
        quantization_level=_text(said.get("quantization_level")),
        parent_model=_text(said.get("parent_model")),
    )


def _time(value: object) -> datetime | None:
    """A moment as Go writes it: RFC 3339, with up to nine digits of a second."""
    try:
        return datetime.fromisoformat(_text(value))
    except ValueError:
        return None
