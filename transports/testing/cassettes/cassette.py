"""`Cassette`: conversations with a server as a JSON file: what was asked, what came back and when, and no credential.

    cassette = Cassette.load("tests/cassettes/hello.json")
    client = OpenAICompatClient(api_key="any", base_url="http://recorded/v1", transport=cassette.transport())

Rules of this file:
- Its entries are plain data. Recording one is up to `recording`, replaying it to `replaying`.
- The format has a version. Files of other versions are refused, and so are unknown fields, since a cassette read in
  part would replay something that never happened.
- Bytes are written as text where they are UTF-8, so that a recording can be read, and reviewed, by eye.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from sans_io.calls.failures import FAULT_KINDS

from .entries import CassetteError, End, RecordedExchange, RecordedFault, RecordedRequest, Speed
from .replaying import AsyncReplayTransport, ReplayTransport

if TYPE_CHECKING:
    from sans_io.decode.jsontext import JSON, JSONObject

FORMAT: Final = "cloud-llm cassette"
VERSION: Final = 1


@dataclass(slots=True)
class Cassette:
    """`entries` in the order in which they began. Next: `transport()` or `async_transport()`."""

    entries: list[RecordedExchange | RecordedFault] = field(default_factory=list)

    @property
    def exchanges(self) -> list[RecordedExchange]:
        return [entry for entry in self.entries if isinstance(entry, RecordedExchange)]

    def transport(self, speed: Speed = "zero", *, rechunk: int | None = None) -> ReplayTransport:
        """For blocking clients. Each transport plays the cassette once, from its beginning."""
        return ReplayTransport(self, speed, rechunk=rechunk)

    def async_transport(self, speed: Speed = "zero", *, rechunk: int | None = None) -> AsyncReplayTransport:
        """For asynchronous clients, on asyncio and trio."""
        return AsyncReplayTransport(self, speed, rechunk=rechunk)

    @classmethod
    def load(cls, path: str | Path) -> Cassette:
        """Read a file. Raises `OSError`, and `CassetteError` if it is not a cassette of this version."""
        try:
            return cls.from_json(json.loads(Path(path).read_text(encoding="utf-8")))
        except (ValueError, CassetteError) as error:
            raise CassetteError(f"{path}: {error}") from None

    def save(self, path: str | Path) -> None:
        """Write a file, and the directory it is in if there is none."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.to_json(), ensure_ascii=False, indent=1)
        Path(path).write_text(text + "\n", encoding="utf-8")

    def to_json(self) -> JSONObject:
        return {"format": FORMAT, "version": VERSION, "entries": [_entry_to_json(entry) for entry in self.entries]}

    @classmethod
    def from_json(cls, value: JSON) -> Cassette:
        """Raises `CassetteError`."""
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise CassetteError("not a cassette")
        if value.get("version") != VERSION:
            raise CassetteError(f"version {value.get('version')!r} of the format; this is version {VERSION}")
        _only(value, "format", "version", "entries")
        try:
            return cls([_entry_from_json(entry) for entry in value["entries"]])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CassetteError(f"broken: {type(error).__name__}: {error}") from None


def _entry_to_json(entry: RecordedExchange | RecordedFault) -> JSONObject:
    if isinstance(entry, RecordedFault):
        return {"dial": entry.kind}
    request = entry.request
    return {
        "connection": entry.connection,
        "request": {
            "method": request.method,
            "target": request.target,
            "headers": [list(pair) for pair in request.headers],
            "body": _text(request.body),
        },
        "reads": [[round(delay, 6), _text(data)] for delay, data in entry.reads],
        "end": [round(entry.end_after, 6), entry.end],
    }


def _entry_from_json(value: JSONObject) -> RecordedExchange | RecordedFault:
    if "dial" in value:
        _only(value, "dial")
        if value["dial"] not in FAULT_KINDS:
            raise CassetteError(f"unknown fault {value['dial']!r}")
        return RecordedFault(value["dial"])
    _only(value, "connection", "request", "reads", "end")
    request: JSONObject = value["request"]
    _only(request, "method", "target", "headers", "body")
    end_after, end = value["end"]
    if end not in {"open", "fin", "rst"}:
        raise CassetteError(f"unknown end {end!r}")
    return RecordedExchange(
        RecordedRequest(
            str(request["method"]),
            str(request["target"]),
            tuple((str(name), str(shown)) for name, shown in request["headers"]),
            _bytes(request["body"]),
        ),
        tuple((float(delay), _bytes(data)) for delay, data in value["reads"]),
        cast("End", end),
        float(end_after),
        int(value["connection"]),
    )


def _only(value: JSONObject, *known: str) -> None:
    unknown = value.keys() - set(known)
    if unknown:
        raise CassetteError(f"unknown field {min(unknown)!r}")


def _text(data: bytes) -> JSON:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode("ascii")}


def _bytes(value: JSON) -> bytes:
    return value.encode("utf-8") if isinstance(value, str) else base64.b64decode(value["base64"], validate=True)
