"""Real proxies as Debian has them, each a process of its own on this machine, with a configuration of the test's."""

from __future__ import annotations

import getpass
import os
import signal
import socket
import subprocess
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds until a program listens, on a busy machine.
_PATIENCE = 30.0


def debian() -> Path:
    """Where `.ci/debian` has unpacked the programs."""
    given = os.environ.get("DEBIAN_PROGRAMS")
    if not given:
        pytest.skip("talks to squid, tinyproxy and nginx: `make proof` fetches and runs them")
    return Path(given).resolve()


def program(name: str) -> Path:
    path = debian() / "usr" / name
    if not path.exists():
        pytest.skip(f"{path.name} cannot be had on this machine")
    return path


def free_port() -> int:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@contextmanager
def running(
    command: list[str | Path],
    port: int,
    log: Path,
    end_with: signal.Signals = signal.SIGTERM,
    environment: dict[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """The program, once it listens at the port. It is ended afterwards."""
    libraries = ":".join(map(str, (debian() / "usr/lib").glob("*-linux-*")))
    with ExitStack() as stack:
        output = stack.enter_context(log.open("wb"))
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=log.parent,
            env={**os.environ, "LD_LIBRARY_PATH": libraries, **(environment or {})},
        )
        stack.callback(_end, process, end_with)
        until = monotonic() + _PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1.0).close()
                break
            except OSError:
                said = log.read_text(errors="replace")
                assert process.poll() is None, f"{command[0]} ended: {said}"
                assert monotonic() < until, f"{command[0]} does not listen: {said}"
                sleep(0.05)
        yield process


def _end(process: subprocess.Popen[bytes], end_with: signal.Signals) -> None:
    process.send_signal(end_with)
    try:
        process.wait(10.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def squid(_room: Path, *, password: str = "", rules: str = "") -> Iterator[int]:
    """Squid's port. `password` is that of the user "ana"; `rules` come before those that allow everything."""
    with TemporaryDirectory() as open_to_all:
        Path(open_to_all).chmod(0o777)  # as root it insists on becoming somebody else
        with _squid(Path(open_to_all), password, rules) as port:
            yield port


@contextmanager
def _squid(room: Path, password: str, rules: str) -> Iterator[int]:
    binary, port = program("sbin/squid"), free_port()
    shared = debian() / "usr/share/squid"
    auth = ""
    if password:
        helper = room / "helper"
        helper.write_text(
            f'#!/bin/sh\nwhile read -r user word; do [ "$user:$word" = "ana:{password}" ] && echo OK || echo ERR; done\n'
        )
        helper.chmod(0o755)
        auth = f"auth_param basic program {helper}\nacl known proxy_auth REQUIRED\nhttp_access deny !known\n"
    config = room / "squid.conf"
    config.write_text(
        f"http_port 127.0.0.1:{port}\n"
        f"cache_effective_user {'nobody' if os.getuid() == 0 else getpass.getuser()}\n"
        f"mime_table {shared}/mime.conf\nicon_directory {shared}/icons\nerror_directory {shared}-langpack/en\n"
        f"pid_filename {room}/squid.pid\ncoredump_dir {room}\ncache_log {room}/squid.log\naccess_log none\n"
        f"unlinkd_program {debian()}/usr/lib/squid/unlinkd\npinger_enable off\nnetdb_filename none\ncache deny all\nshutdown_lifetime 0 seconds\n"
        f"connect_timeout 3 seconds\n{auth}{rules}http_access allow all\n"
    )
    with running([binary, "-N", "-n", f"squid{port}", "-f", config], port, room / "squid.out", signal.SIGKILL):
        yield port


@contextmanager
def tinyproxy(room: Path, *, password: str = "", rules: str = "") -> Iterator[int]:
    """tinyproxy's port. `password` is that of the user "ana"."""
    binary, port = program("bin/tinyproxy"), free_port()
    auth = f"BasicAuth ana {password}\n" if password else ""
    config = room / "tinyproxy.conf"
    config.write_text(
        f'Port {port}\nListen 127.0.0.1\nTimeout 30\nMaxClients 100\nAllow 127.0.0.1\nLogFile "{room}/tinyproxy.log"\n'
        f"{auth}{rules}"
    )
    with running([binary, "-d", "-c", config], port, room / "tinyproxy.out"):
        yield port


@contextmanager
def nginx(room: Path, server: str, *, http: str = "") -> Iterator[int]:
    """nginx's port. `server` is what stands in its one `server` block beside `listen`, with PORT for the port;
    `http` what stands before it.
    """
    binary, port = program("sbin/nginx"), free_port()
    config = room / "nginx.conf"
    config.write_text(
        f"daemon off; master_process on; worker_processes 1; pid {room}/nginx.pid; error_log {room}/nginx.log notice;\n"
        "events { worker_connections 512; }\n"
        "http {\n access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n"
        f" uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n {http}\n server {{\n {server.replace('PORT', str(port))}\n }}\n}}\n"
    )
    with running([binary, "-p", room, "-e", room / "nginx.log", "-c", config], port, room / "nginx.out"):
        yield port
