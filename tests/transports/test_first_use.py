"""The first call imports what it needs: whole or not at all, and a call that could not is no harm to the next."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from types import ModuleType

import pytest
import trio
import trustme

from cloud.llm import LLMConnectionError
from cloud.llm import logs as log
from cloud.llm.loops import running_loop, running_loop_object, running_task
from sans_io.decode import jsontext
from tests import wire_server as w
from tests.security.test_tls import context
from transports import loading
from transports.faults import Fault, load

ROOT = Path(__file__).parents[2]
CA = trustme.CA()

# -- half of a module -------------------------------------------------------------------------------------------------


def half(name: str, *attributes: str) -> ModuleType:
    """What `sys.modules` holds while another thread imports it."""
    module = ModuleType(name)
    for attribute in attributes:
        setattr(module, attribute, ModuleType(attribute))
    return module


@pytest.mark.parametrize("attributes", [(), ("lowlevel",), ("_core",)], ids=str)
def test_a_trio_that_is_being_imported_is_no_running_loop(
    attributes: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        assert running_loop() == "asyncio"
        assert running_task() is asyncio.current_task()
        assert running_loop_object() is asyncio.get_running_loop()

    monkeypatch.setitem(sys.modules, "trio", half("trio", *attributes))
    asyncio.run(main())
    assert running_loop() is None
    assert running_task() is None


def test_an_asyncio_that_is_being_imported_is_no_running_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setitem(sys.modules, "asyncio", half("asyncio"))
        assert running_loop() == "trio"
        monkeypatch.undo()

    trio.run(main)
    monkeypatch.setitem(sys.modules, "asyncio", half("asyncio"))
    assert running_loop() is None


def test_a_logging_that_is_being_imported_logs_nothing_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_loggers", {})
    monkeypatch.setitem(sys.modules, "logging", half("logging"))
    assert log.observer(None, "POST", "/v1/chat") is None
    assert not log._loggers


IMPORTING = """
import asyncio, sys, threading, time
from cloud.llm import AsyncOpenAICompatClient
client = AsyncOpenAICompatClient("k", "m", base_url=sys.argv[1], max_retries=0)
slow = False
def hook(event, args):
    if event == "open" and slow and threading.current_thread() is not threading.main_thread() and "trio" in str(args[0]):
        time.sleep(0.003)
sys.addaudithook(hook)
async def main():
    global slow
    await client.chat([{"role": "user", "content": "x"}])
    slow = True
    thread = threading.Thread(target=__import__, args=("trio",))
    calls = 0
    thread.start()
    while thread.is_alive():
        assert (await client.chat([{"role": "user", "content": "x"}])).content == "fine"
        calls += 1
    return calls
print(asyncio.run(main()))
"""


def test_asyncio_calls_while_another_thread_imports_trio() -> None:
    with w.WireServer(w.forever(w.read(), w.answer())) as server:
        done = run(IMPORTING, server.url + "/v1")
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) >= 10, "too few calls met the import"


# -- no descriptor, for real ------------------------------------------------------------------------------------------

CLIENT = """
import os, resource, sys, threading
mode, kind, url, ca_file = sys.argv[1:5]
if mode != "sync":
    __import__(mode)
import cloud.llm
from cloud.llm import LLMConnectionError
made = cloud.llm.OpenAICompatClient if mode == "sync" else cloud.llm.AsyncOpenAICompatClient
messages = [{"role": "user", "content": "x"}]

def new():
    return made("k", "m", base_url=url, ca_file=ca_file or None, max_retries=0, headers={"X-A": "b"})

async def call(client):
    stream = kind == "stream"
    if mode == "sync":
        return "".join(client.chat_stream(messages)) if stream else client.chat(messages).content
    if not stream:
        return (await client.chat(messages)).content
    return "".join([text async for text in client.chat_stream(messages)])

async def outcome(client):
    try:
        return await call(client)
    except LLMConnectionError as error:
        assert error.code == "too_many_open_files", repr(error)
        assert "descriptor" in str(error) and os.sep not in str(error).replace("://", ""), str(error)
        return "refused"
    except KeyboardInterrupt:
        return "interrupted"

def run(main):
    if mode == "sync":
        try:
            main().send(None)
        except StopIteration:
            pass
    else:
        getattr(sys.modules[mode], "run")(main() if mode == "asyncio" else main)
"""

EXHAUSTED = (
    CLIENT
    + """
async def main():
    client = new() if early else None
    hoard = [os.open(os.devnull, os.O_RDONLY)]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hoard[0] + 40, hard))
    try:
        while True:
            hoard.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass
    for _ in range(free):
        os.close(hoard.pop())
    found = []
    for _ in range(2):
        if client is None:
            try:
                client = new()
            except LLMConnectionError as error:
                assert error.code == "too_many_open_files", repr(error)
                found.append("refused")
                continue
        found.append(await outcome(client))
    for each in hoard:
        os.close(each)
    client = client or new()
    assert client.pool_stats().leased == client.pool_stats().connecting == 0
    found += [await outcome(client), await outcome(client)]
    print(*found)

free, early = int(sys.argv[5]), sys.argv[6] == "early"
run(main)
"""
)


def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    alone = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *map(str, arguments)],
        capture_output=True, text=True, cwd=ROOT, env={**alone, "PYTHONPATH": str(ROOT)}, timeout=100, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def ca_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    CA.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(scope="module", params=["http", "https"])
def place(request: pytest.FixtureRequest, ca_file: str) -> Iterator[tuple[str, str]]:
    """A base URL and the CA file for it."""
    secure = request.param == "https"
    handshake = (w.tls(context(ca=CA)),) if secure else ()
    with w.WireServer((*handshake, *w.forever(w.read(), w.answer()))) as server:
        yield f"{request.param}://localhost:{server.port}/v1", ca_file if secure else ""


@pytest.mark.parametrize("free", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", ["chat", "stream"])
@pytest.mark.parametrize("mode", ["sync", "asyncio", "trio"])
def test_a_first_call_without_descriptors(mode: str, kind: str, free: int, place: tuple[str, str]) -> None:
    """It says so, leaves nothing half imported, and the next call with descriptors succeeds."""
    for built in ("early", "late"):
        done = run(EXHAUSTED, mode, kind, *place, free, built)
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.split() == ["refused", "refused", "fine", "fine"], built


# -- at every file that a first call opens ----------------------------------------------------------------------------

FORKED = (
    CLIENT
    + """
import errno, json, signal
what, step = sys.argv[5], int(sys.argv[6])
armed, seen, target = False, 0, -1

def hook(event, args):
    global seen
    if not armed or event not in ("open", "os.listdir", "import") or (event == "import" and args[1] is None):
        return
    seen += 1
    if seen - 1 == target or (seen - 1 > target >= 0 and what == "exhausted"):
        if what == "interrupted":
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(0.01)
        elif event == "import":
            raise ImportError(f"{args[1]}: cannot open shared object file: Too many open files")
        else:
            raise OSError(errno.EMFILE, "Too many open files", str(args[0]))

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is deaf to it
sys.addaudithook(hook)
client = new()

async def main():
    global armed
    found = []
    armed = True
    try:
        found.append(await outcome(client))
    except BaseException as error:
        found.append(repr(error)[:200])
    armed = False
    for _ in range(2):
        found.append(await outcome(client))
    stats = client.pool_stats()
    print(json.dumps([seen, found, stats.leased + stats.connecting]), flush=True)

def child(number):
    # The answer is written by the child, and its end awaited.
    global target
    pid = os.fork()
    if pid == 0:
        target = number
        signal.alarm(30)
        try:
            run(main)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)

for number in range(int(sys.argv[7]), int(sys.argv[8]), step):
    child(number)
"""
)


def outcomes(mode: str, what: str, place: tuple[str, str], step: int) -> list[list[str]]:
    import json

    count = json.loads(run(FORKED, mode, "stream", *place, what, 1, -1, 0).stdout)[0]
    assert count > 50, "the hook is blind"
    done = run(FORKED, mode, "stream", *place, what, step, 0, count)
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert len(found) == len(range(0, count, step)), done.stderr[-2000:]
    assert all(held == 0 for _, _, held in found)
    return [each for _, each, _ in found]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sync", "asyncio", "trio"])
def test_descriptors_run_out_at_any_file_of_a_first_call(mode: str, place: tuple[str, str]) -> None:
    found = outcomes(mode, "exhausted", place, 3)
    assert {first for first, *_ in found} <= {"refused", "fine"}
    assert sum(first == "refused" for first, *_ in found) > len(found) / 2
    assert {tuple(rest) for _, *rest in found} == {("fine", "fine")}


@pytest.mark.slow
def test_ctrl_c_at_any_file_of_a_first_call(place: tuple[str, str]) -> None:
    found = outcomes("sync", "interrupted", place, 3)
    assert {first for first, *_ in found} <= {"interrupted", "fine"}
    assert sum(first == "interrupted" for first, *_ in found) > len(found) / 2
    assert {tuple(rest) for _, *rest in found} == {("fine", "fine")}


# -- the one place where it is decided --------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Write modules of a package `planted`, which is forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(loading, "_loaded", set())
    (tmp_path / "planted").mkdir()

    def write(**sources: str) -> None:
        for name, source in sources.items():
            (tmp_path / "planted" / f"{name}.py").write_text(source)

    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] == "planted"]:
        del sys.modules[name]


def no_descriptor(_: int) -> bool:
    return False


FAILS_ONCE = """
import errno, sys
if not hasattr(sys, "planted_failed"):
    sys.planted_failed = True
    raise OSError(errno.EMFILE, "Too many open files", "/some/path")
"""


@pytest.mark.parametrize("need", [loading.need, loading.need_here])
def test_what_a_failed_import_leaves_behind_is_removed(
    need: Callable[..., None], package: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package binds its modules when they are first imported: as `pathlib` of 3.13, this one needs the binding."""
    package(
        __init__="from .one import *\nfrom .two import *\nnames = one.__name__ + two.__name__", one="", two=FAILS_ONCE
    )
    monkeypatch.setattr(sys, "planted_failed", None, raising=False)
    monkeypatch.delattr(sys, "planted_failed")
    with pytest.raises(LLMConnectionError, match="no file descriptor is left to load planted: close some") as caught:
        need("planted")
    assert caught.value.code == "too_many_open_files"
    assert isinstance(caught.value.__cause__, OSError)
    assert not [name for name in sys.modules if name.startswith("planted")]
    need("planted")
    assert sys.modules["planted"].names == "planted.oneplanted.two"
    del sys.planted_failed  # type: ignore[attr-defined]


def test_nothing_is_imported_unless_descriptors_are_left(
    package: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    package(__init__="")
    monkeypatch.setattr(loading, "descriptors_left", no_descriptor)
    with pytest.raises(LLMConnectionError, match="no file descriptor is left to load planted"):
        loading.need("planted")
    with pytest.raises(Fault) as caught:
        load("planted")
    assert (caught.value.kind, caught.value.detail) == ("too_many_files", "planted could not be loaded")
    assert "planted" not in sys.modules
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import no_such_module", "(ModuleNotFoundError: No module named 'no_such_module')"),
        ("raise OSError(5, 'Input/output error', '/some/path')", "(OSError)"),
        ("raise OSError(13, 'Permission denied', '/some/path')", "(PermissionError: Permission denied)"),
        ("raise ImportError('cannot import name x from y (/some/path)')", "(ImportError)"),
        ("raise SystemError('of an extension')", "(SystemError: of an extension)"),
        ("x = ", "(SyntaxError: invalid syntax (__init__.py, line 1))"),
    ],
)
def test_any_other_failure_is_named_without_a_path(source: str, said: str, package: Callable[..., None]) -> None:
    package(__init__=source)
    for _ in range(2):
        with pytest.raises(LLMConnectionError) as caught:
            loading.need("planted")
        assert str(caught.value) == f"planted could not be loaded {said}"
        assert caught.value.code == "import_failed"
        assert caught.value.__cause__ is not None
    with pytest.raises(Fault) as fault:
        load("planted")
    assert fault.value.kind == "local"


def test_an_import_is_done_in_a_thread_of_its_own_once(package: Callable[..., None]) -> None:
    package(__init__="import threading\nhere = threading.get_ident()")
    loading.need("planted")
    assert sys.modules["planted"].here != threading.get_ident()
    del sys.modules["planted"]
    loading.need("planted")
    assert "planted" not in sys.modules, "asked for again, it is known to be there"


def test_where_no_thread_can_be_started_it_is_done_here(
    package: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> int:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(loading, "start_new_thread", refused)
    package(__init__="import threading\nhere = threading.get_ident()")
    loading.need("planted")
    assert sys.modules["planted"].here == threading.get_ident()

    def ctrl_c() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loading.do("planted", ctrl_c)


AT_THE_END = """
import sys
from transports import loading
class Goodbye:
    def __del__(self, loading=loading, sys=sys, error=loading.LLMConnectionError):
        try:
            loading.need("colorsys")
        except error as refused:
            print("refused" if sys.meta_path is None else refused)
        else:
            print("loaded")
keep = Goodbye()
"""


def test_an_import_in_a_finaliser_of_the_ending_interpreter_waits_for_no_thread() -> None:
    """CPython 3.11 starts a thread there, which never runs; the interpreter has nothing left to import with."""
    began = monotonic()
    done = run(AT_THE_END)
    assert (done.returncode, done.stdout, done.stderr) == (0, "refused\n", "")
    assert monotonic() - began < loading.PATIENCE / 2


def test_an_import_that_waits_for_the_caller_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "PATIENCE", 0.02)
    until = threading.Event()
    with pytest.raises(LLMConnectionError, match="planted could not be loaded: its import has not finished"):
        loading.do("planted", until.wait)
    until.set()


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "Too many"), SystemError("bad"), ImportError("bad")])
def test_a_stream_does_without_an_accelerator_whose_import_has_failed(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not tried again, whatever the reason: the second attempt would crash the process on CPython 3.12."""
    asked = []

    def accelerate() -> bool:
        asked.append(1)
        raise error

    monkeypatch.setattr(loading, "_loaded", set())
    monkeypatch.setattr(jsontext, "accelerate", accelerate)
    loading.accelerate()
    loading.accelerate()
    assert len(asked) == 1


def test_an_accelerator_whose_import_could_not_begin_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(loading, "_loaded", set())
    monkeypatch.setattr(jsontext, "accelerate", lambda: asked.append(1))
    with monkeypatch.context() as exhausted:
        exhausted.setattr(loading, "descriptors_left", no_descriptor)
        loading.accelerate()
    assert not asked
    loading.accelerate()
    loading.accelerate()
    assert asked == [1]


ACCELERATOR = """
import errno, faulthandler, sys
from transports import loading
armed = True
def hook(event, args):
    global left
    if armed and event in ("open", "os.listdir", "import") and (event != "import" or args[1] is not None):
        left -= 1
        if left < 0:
            raise OSError(errno.EMFILE, "Too many open files", str(args[0]))
left = int(sys.argv[1])
sys.addaudithook(hook)
loading.accelerate()
armed = False
for _ in range(3):
    loading.accelerate()
print("alive", left < 0)
"""


def test_an_accelerator_that_fails_in_the_middle_of_its_import_crashes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("msgspec")
    monkeypatch.setenv("PYTHONMALLOC", "debug")  # what is freed is overwritten, so that its use is seen each time
    for files in range(60):
        done = run(ACCELERATOR, files)
        assert done.returncode == 0, f"after {files} files: {done.returncode} {done.stderr[-2000:]}"
        if done.stdout == "alive False\n":
            break
    assert files > 3, "the hook is blind"


def test_a_name_is_not_blamed_for_a_lack_of_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one, the system's resolver says that a host does not exist."""
    from transports import resolver

    with pytest.raises(Fault) as caught:
        resolver._look_up("nowhere.invalid", 80)
    assert caught.value.kind in ("dns_failed", "dns_temporary")
    monkeypatch.setattr(resolver, "descriptors_left", no_descriptor)
    with pytest.raises(Fault) as caught:
        resolver._look_up("nowhere.invalid", 80)
    assert (caught.value.kind, caught.value.detail) == ("too_many_files", "lookup of nowhere.invalid")


def test_ca_files_that_cannot_be_opened_for_want_of_a_descriptor_are_not_blamed(
    monkeypatch: pytest.MonkeyPatch, ca_file: str
) -> None:
    import ssl

    from transports import trust

    class Exhausted(ssl.SSLContext):
        def load_verify_locations(self, *args: object, **files: object) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(ssl, "SSLContext", Exhausted)
    for file in (ca_file, None):
        with pytest.raises(Fault, match="the CA certificates could not be read") as caught:
            trust.new_context(file)
        assert caught.value.kind == "too_many_files"


SURROGATES = """
import errno, sys
from sans_io.decode import jsontext
from cloud.llm import redact
def hook(event, args):
    if event in ("open", "os.listdir"):
        raise OSError(errno.EMFILE, "Too many open files", str(args[0]))
sys.addaudithook(hook)
assert jsontext.well_formed("a\\ud83d\\ude00b\\ud83d") == "a\\U0001f600b\\ufffd"
assert redact.redact("a\\x1bb\\u202e") == "a\\\\x1bb\\\\u202e"
"""


def test_no_codec_is_imported_in_the_middle_of_a_reply() -> None:
    done = run(SURROGATES)
    assert done.returncode == 0, done.stderr


def test_a_hook_that_fails_changes_no_call_though_logging_cannot_be_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def hook(_: object) -> None:
        raise ValueError("sk-secret")

    monkeypatch.setattr(loading, "_loaded", set())
    monkeypatch.setattr(loading, "descriptors_left", no_descriptor)
    log._tell(hook, None)  # type: ignore[arg-type]
    said = capsys.readouterr().err
    assert said.startswith("cloud.llm: on_attempt raised ValueError; no file descriptor is left to load logging")
    assert "sk-secret" not in said
