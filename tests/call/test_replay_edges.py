"""`decode` where there is nothing to decode, or nobody to do it."""

from __future__ import annotations

import pytest

from sans_io.errors import LLMBadRequestError, LLMNotFoundError, LLMProtocolError, LLMStreamError
from sans_io.replay import ProviderName, decode


def test_an_unknown_provider_is_named_with_those_that_are_known() -> None:
    with pytest.raises(LLMBadRequestError, match="unknown provider 'openia'; known: openai, anthropic, ollama"):
        decode("openia", 200, {}, [b"{}"], stream=False)  # type: ignore[arg-type]


@pytest.mark.parametrize("provider", ["openai", "anthropic", "ollama"])
@pytest.mark.parametrize(("stream", "error"), [(True, LLMStreamError), (False, LLMProtocolError)])
def test_an_empty_reply_is_an_error_with_its_status(
    provider: ProviderName, stream: bool, error: type[Exception]
) -> None:
    with pytest.raises((LLMStreamError, LLMProtocolError)) as caught:
        decode(provider, 200, {}, [], stream=stream)
    assert isinstance(caught.value, error)
    assert caught.value.status_code == 200
    assert caught.value.provider == provider


@pytest.mark.parametrize("provider", ["openai", "anthropic", "ollama"])
def test_a_refusal_is_that_of_the_provider_that_was_asked_for(provider: ProviderName) -> None:
    with pytest.raises(LLMNotFoundError) as caught:
        decode(provider, 404, {}, [b'{"error": {"message": "no such model"}}'], stream=False)
    assert caught.value.provider == provider
