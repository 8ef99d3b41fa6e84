"""A refused proxy is never quoted: what stands where a scheme belongs may be a secret."""

from __future__ import annotations

import pytest

from sans_io.errors import LLMBadRequestError
from sans_io.proxies import environment_proxies, parse_proxy


@pytest.mark.parametrize("scheme", ["https", "SOCKS5", "socks4a"])
def test_a_scheme_that_proxies_have_is_named(scheme: str) -> None:
    with pytest.raises(
        LLMBadRequestError, match=f"a proxy by {scheme.lower()}:// is not supported, only http://"
    ) as caught:
        parse_proxy(f"{scheme}://a.test:1")
    assert caught.value.code == "unsupported_proxy"


@pytest.mark.parametrize("url", ["example.coms://", "hunter2://proxy.test", "sk-abcdefghijkl://"])
def test_any_other_word_is_not(url: str) -> None:
    """Found by the fuzzing target `headers`: up to sixteen characters of a misplaced password were shown."""
    word = url.partition(":")[0]
    with pytest.raises(LLMBadRequestError, match="a proxy by that scheme is not supported") as caught:
        parse_proxy(url, "https_proxy")
    assert word not in str(caught.value)
    assert word not in str(environment_proxies({"https_proxy": url}).ignored)
