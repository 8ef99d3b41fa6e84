"""What a fresh interpreter pays for an import, a first client and its first call: instructions under cachegrind.

    python bench/import_cost.py                   our rows, and openai's where it is installed
    python bench/import_cost.py --only asyncio    rows whose name has the word

Each program is run twice, once to write what CPython caches of the modules, once to be counted; what an empty
interpreter costs is taken off. The gates are parts of "openai and a client" as it was on 2026-11-22: a newer one, or
another machine's C library, moves the counts by a few percent. Exit code 1 if a gate is exceeded. They are judged on
CPython 3.11, where they were set: the row of trio costs a tenth more on 3.12 and 3.13. Needs valgrind; without it a
line says so and nothing is measured (exit code 0).
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import subprocess
import sys

from running import environment, instructions, load_server

_CALL = "chat([{{'role': 'user', 'content': 'hi'}}], model='chat')"
_OURS = "from cloud.llm import {0}; client = {0}(api_key='k', model='chat', base_url='{{base}}/v1')"
_OPENAI = "import openai; client = openai.{}(api_key='k', base_url='{{base}}/v1')"
PROGRAMS = {
    "empty interpreter": "pass",
    "cloud.llm and a client": _OURS.format("OpenAICompatClient"),
    "the same and its first call": _OURS.format("OpenAICompatClient") + f"; client.{_CALL}",
    "the same on asyncio": f"import asyncio; {_OURS.format('AsyncOpenAICompatClient')}; asyncio.run(client.{_CALL})",
    "the same on trio": f"import trio; {_OURS.format('AsyncOpenAICompatClient')}; trio.run(lambda: client.{_CALL})",
    "openai and a client": _OPENAI.format("OpenAI") + "; client.chat.completions",
    "openai and its first call": _OPENAI.format("OpenAI")
    + "; client.chat.completions.create(messages=[{{'role': 'user', 'content': 'hi'}}], model='chat')",
    "anthropic and a client": "import anthropic; anthropic.Anthropic(api_key='k')",
}
#: "openai and a client" over an empty interpreter, in instructions: version 2.x, CPython 3.11.7.
OPENAI = 2_872_000_000
#: Row -> its part of that.
GATES = {
    "cloud.llm and a client": 1 / 10,
    "the same and its first call": 1 / 5,
    "the same on asyncio": 1 / 6,
    "the same on trio": 1 / 4,
}


def count(program: str) -> int:
    """All instructions of one interpreter that runs it, with every module's bytecode cached."""
    caching = environment(writes_bytecode=True)
    subprocess.run([sys.executable, "-c", program], env=caching, check=True)
    return instructions(["-c", program], caching)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="a word of the names of the rows")
    chosen = parser.parse_args()
    if shutil.which("valgrind") is None:
        print("valgrind is not installed: no instructions were counted")
        return 0
    exceeded = False
    gates = GATES if sys.version_info[:2] == (3, 11) else {}
    if not gates:
        print("The gates are those of CPython 3.11: nothing is judged here.\n")
    print("| what | instructions | × openai and a client | gate |\n|---|---:|---:|---:|")
    with load_server() as base:
        empty = count(PROGRAMS["empty interpreter"])
        for name, program in PROGRAMS.items():
            package = name.partition(" ")[0]
            needed = "trio" if name.endswith("trio") else package if package in ("openai", "anthropic") else "sys"
            if program == "pass" or chosen.only not in name or importlib.util.find_spec(needed) is None:
                continue
            cost = count(program.format(base=base)) - empty
            gate = gates.get(name)
            over = gate is not None and cost > gate * OPENAI
            exceeded = exceeded or over
            shown = "" if gate is None else f"{gate:.3f}{' EXCEEDED' if over else ''}"
            print(f"| {name} | {cost / 1e6:,.0f} M | {cost / OPENAI:.3f} | {shown} |", flush=True)
    return int(exceeded)


if __name__ == "__main__":
    sys.exit(main())
