"""Header fields that frame the message or name the connection are the client's own: a user may add none of them."""

from __future__ import annotations

import pytest

from sans_io.chat.messages import checked_headers
from sans_io.errors import LLMBadRequestError

OWN = (
    "host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect",
    "accept-encoding", "proxy-authorization", "proxy-connection",
)  # fmt: skip


@pytest.mark.parametrize("name", OWN)
def test_a_field_of_ours(name: str) -> None:
    for spelled in (name, name.upper(), name.title()):
        with pytest.raises(LLMBadRequestError, match="set by the client itself"):
            checked_headers({spelled: "x"}, "headers")


@pytest.mark.parametrize("name", ["x-trace", "user-agent", "authorization", "accept", "openai-organization", "XXhost"])
def test_any_other_field_is_the_user_s(name: str) -> None:
    assert checked_headers({name: "x"}, "headers") == ((name, "x"),)
    assert checked_headers([(name, "x"), (name, "y")], "headers") == ((name, "x"), (name, "y"))
