"""The installed wheel, alone in an empty environment: everything is there, and it does what a stranger tries first."""

import importlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import cloud.llm
from cloud.llm import LLMConnectionError, OpenAICompatClient
from transports.testing import FakeLLMServer, LoopbackServer

here = Path(sys.prefix).resolve()
for name in ("sans_io", "transports", "cloud", "ai.ai_agents.providers"):
    module = importlib.import_module(name)
    file = Path(str(module.__file__)).resolve()
    assert here in file.parents, f"{name} comes from {file}"
    assert (file.parent / "py.typed").is_file(), f"{name} has no py.typed in the wheel"
assert (Path(str(cloud.llm.__file__)).parent / "embedded_template.jinja").is_file()

hello = [{"role": "user", "content": "hi"}]
server = LoopbackServer(FakeLLMServer("openai"))
with server, OpenAICompatClient(base_url=server.base_url("openai"), model="any") as client:
    print("chat:", client.chat(hello).content)
    print("stream:", "|".join(client.chat_stream(hello)))
cloud.close_all_cloud_clients_sync()

try:
    OpenAICompatClient(base_url="http://127.0.0.1:9/v1", model="m", max_retries=0, timeout=5).chat(hello)
except LLMConnectionError as error:
    print("nobody there:", error)
else:
    sys.exit("nobody listens on port 9, and yet there was an answer")

# The command line is an extra: without it, one line that says how to install it.
run = subprocess.run([here / "bin" / "cloud-llm", "models"], capture_output=True, text=True, check=False)
assert run.returncode != 0, run
assert "Traceback" not in run.stderr, run.stderr
assert "cli" in run.stderr, run.stderr
print("command line:", run.stderr.strip())
print("wheel:", importlib.metadata.version("cloud-llm"), "works alone")
