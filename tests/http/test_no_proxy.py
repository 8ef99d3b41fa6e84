"""NO_PROXY: laws, then a table of entries against origins."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sans_io.http.proxies import no_proxy_matches
from sans_io.http.urls import Origin, parse_base_url

NAMES = st.sampled_from(
    ["example.com", "api.example.com", "badexample.com", "com", "localhost", "a", "10.0.0.1", "::1", "fd00::5"]
)
ENTRIES = st.sampled_from(
    ["example.com", ".example.com", "*.com", "a:80", "10.0.0.0/8", "fd00::/8", "::1", "[::1]:443", "*", "", "/", ":"]
)


def origin(name: str, port: int = 443) -> Origin:
    return Origin("https", name, port)


@given(NAMES, st.lists(ENTRIES | st.text(max_size=8), max_size=5))
def test_entries_are_independent(name: str, entries: list[str]) -> None:
    together = no_proxy_matches(origin(name), ",".join(entries))
    assert together == any(no_proxy_matches(origin(name), entry) for entry in entries)
    assert together == no_proxy_matches(origin(name), " , ".join(reversed(entries)))


@given(NAMES, st.lists(ENTRIES, max_size=4).map(",".join))
def test_case_never_matters(name: str, text: str) -> None:
    assert no_proxy_matches(origin(name), text) == no_proxy_matches(origin(name), text.upper())


@given(st.ip_addresses(), st.integers(0, 128))
def test_a_block_matches_what_the_standard_library_says(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, bits: int
) -> None:
    bits = min(bits, address.max_prefixlen)
    where = Origin("https", str(address), 443)
    network = ipaddress.ip_network((address, bits), strict=False)
    assert no_proxy_matches(where, str(network))
    assert no_proxy_matches(where, f"{address}/{bits}")
    assert no_proxy_matches(where, str(address))
    if bits:
        other = ipaddress.ip_address(int(address) ^ (1 << (address.max_prefixlen - bits)))
        if type(other) is type(address):
            assert not no_proxy_matches(Origin("https", str(other), 443), str(network))


@given(st.text(max_size=30))
def test_nothing_in_the_variable_raises(text: str) -> None:
    for name in ("example.com", "10.0.0.1", "::1"):
        no_proxy_matches(origin(name), text)


TABLE = [
    # NO_PROXY, URL, direct?
    ("", "http://example.com", False),
    (",", "http://example.com", False),
    ("*", "http://example.com", True),
    ("*", "http://10.0.0.1", True),
    ("*", "http://[2001:db8::1]", True),
    ("a,*", "http://example.com", True),
    (" * ", "http://example.com", True),
    ("example.com", "http://example.com", True),
    ("example.com", "https://example.com", True),
    ("example.com", "http://example.com:8080", True),
    ("example.com", "http://EXAMPLE.com", True),
    ("EXAMPLE.COM", "http://example.com", True),
    ("example.com", "http://api.example.com", True),
    ("example.com", "http://a.b.example.com", True),
    ("example.com", "http://badexample.com", False),
    ("example.com", "http://example.com.evil.net", False),
    ("example.com", "http://example.org", False),
    ("example.com.", "http://example.com", True),
    (".example.com", "http://example.com", True),
    (".example.com", "http://api.example.com", True),
    (".example.com", "http://badexample.com", False),
    ("..example.com", "http://api.example.com", True),
    ("*.example.com", "http://api.example.com", True),
    ("*.example.com", "http://badexample.com", False),
    ("*example.com", "http://badexample.com", False),
    ("api.*.com", "http://api.example.com", False),
    (".", "http://example.com", False),
    ("com", "http://example.com", True),
    ("api.example.com", "http://example.com", False),
    ("example.com:80", "http://example.com", True),
    ("example.com:80", "https://example.com", False),
    ("example.com:443", "https://example.com", True),
    ("example.com:8080", "http://example.com:8080", True),
    ("example.com:8080", "http://api.example.com:8080", True),
    ("example.com:8080", "http://example.com", False),
    (".example.com:8080", "http://a.example.com:8080", True),
    ("example.com:", "http://example.com", False),
    ("example.com:http", "http://example.com", False),
    (":80", "http://example.com", False),
    ("a,b,example.com", "http://example.com", True),
    ("a b example.com", "http://example.com", True),
    ("a , example.com ,", "http://example.com", True),
    ("a\texample.com\n", "http://example.com", True),
    ("http://example.com", "http://example.com", False),
    ("example.com/", "http://example.com", False),
    ("10.0.0.1", "http://10.0.0.1", True),
    ("10.0.0.1", "http://10.0.0.10", False),
    ("10.0.0.1", "http://110.0.0.1", False),
    ("0.0.1", "http://10.0.0.1", False),
    (".0.0.1", "http://10.0.0.1", False),
    ("10.0.0.1:80", "http://10.0.0.1", True),
    ("10.0.0.1:81", "http://10.0.0.1", False),
    ("10.0.0.0/8", "http://10.200.3.4", True),
    ("10.0.0.0/8", "http://11.0.0.1", False),
    ("10.1.2.3/8", "http://10.200.3.4", True),
    ("10.0.0.0/255.0.0.0", "http://10.200.3.4", True),
    ("10.0.0.0/33", "http://10.0.0.0", False),
    ("10.0.0.0/x", "http://10.0.0.0", False),
    ("0.0.0.0/0", "http://8.8.8.8", True),
    ("0.0.0.0/0", "http://example.com", False),
    ("0.0.0.0/0", "http://[2001:db8::1]", False),
    ("10.0.0.0/8", "http://10.example.com", False),
    ("192.168.0.0/16,10.0.0.0/8", "http://10.0.0.1", True),
    ("2001:db8::1", "http://[2001:db8::1]", True),
    ("2001:DB8:0::1", "http://[2001:db8::1]", True),
    ("[2001:db8::1]", "http://[2001:db8::1]", True),
    ("[2001:db8::1]:443", "https://[2001:db8::1]", True),
    ("[2001:db8::1]:443", "http://[2001:db8::1]", False),
    ("[2001:db8::1]x", "http://[2001:db8::1]", False),
    ("[2001:db8::1", "http://[2001:db8::1]", False),
    ("2001:db8::/32", "http://[2001:db8:1::5]", True),
    ("2001:db8::/32", "http://[2001:db9::1]", False),
    ("[2001:db8::]/32", "http://[2001:db8:1::5]", True),
    ("[2001:DB8::1]/32", "http://[2001:db8:1::5]", True),
    ("[2001:db8::]/32", "http://[2001:db9::1]", False),
    ("[2001:db8::/32]", "http://[2001:db8:1::5]", True),
    ("[fd00::]/8,[::1]/128", "http://[fd12::1]", True),
    ("[2001:db8::]/129", "http://[2001:db8::]", False),
    ("[2001:db8::/32", "http://[2001:db8::1]", False),
    ("2001:db8::]/32", "http://[2001:db8::1]", False),
    ("[10.0.0.0]/8", "http://10.0.0.1", False),
    ("::/0", "http://8.8.8.8", False),
    ("10.0.0.0/8", "http://[::ffff:10.0.0.1]", True),
    ("10.0.0.1", "http://[::ffff:10.0.0.1]", True),
    ("::ffff:10.0.0.1", "http://10.0.0.1", True),
    ("bücher.example", "http://xn--bcher-kva.example", False),
    ("example.com;example.org", "http://example.org", False),
]


@pytest.mark.parametrize(("no_proxy", "url", "direct"), TABLE, ids=[f"{row[0]} {row[1]}" for row in TABLE])
def test_no_proxy(no_proxy: str, url: str, direct: bool) -> None:
    assert no_proxy_matches(parse_base_url(url).origin, no_proxy) is direct


def test_the_table_is_long_enough() -> None:
    assert len(set(TABLE)) == len(TABLE) >= 60
