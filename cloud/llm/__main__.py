"""`python -m cloud.llm`, and the console script `cloud-llm`. The commands are in `cli`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from sans_io.errors import LLMError

from .redact import redact


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. Exit codes: 0 done, 1 it failed (one line on stderr), 2 wrong usage, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = _taken_out("--debug", arguments)
    try:
        from .cli import CommandError, StoppedError, app
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("typer", "rich", "click"):
            raise
        print("the command line needs the extra 'cli': pip install 'cloud-llm[cli]'", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # while typer was being imported
        return 130
    try:
        app(arguments, prog_name="cloud-llm")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 0 if done.code is None else 1
    except (LLMError, CommandError) as error:
        if debug:
            raise
        name = f"{type(error).__name__}: " if isinstance(error, LLMError) else ""
        print(f"cloud-llm: {name}{redact(str(error))}", file=sys.stderr)
        return 1
    except StoppedError as stopped:
        if not stopped.by_reader:
            print("\nStopped.", file=sys.stderr)
            return 130
        # Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:  # before a command began or after it had ended
        return 130
    return 0


def _taken_out(flag: str, arguments: list[str]) -> bool:
    """Whether the flag stands anywhere before `--`; it is removed, so that every command takes it in every place."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    found = flag in arguments[:end]
    if found:
        arguments.remove(flag)
    return found


if __name__ == "__main__":
    sys.exit(main())
