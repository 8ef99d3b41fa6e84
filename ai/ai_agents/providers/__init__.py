"""Providers by name, for agents: `get_provider("anthropic", api_key=..., model=...)`. See `cloud.llm.providers`."""

from cloud.llm.providers import Provider, get_provider, register_provider

__all__ = ["Provider", "get_provider", "register_provider"]
