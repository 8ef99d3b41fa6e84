"""HTTP/1.1 from a client's side: heads, bodies, URLs, proxies."""
