"""Public path of the HTTP/1.1 exchange, which lives in `sans_io.http.http11`."""

from .http.http11 import HTTPExchange, HTTPRequest, RequestHead

__all__ = ["HTTPExchange", "HTTPRequest", "RequestHead"]
