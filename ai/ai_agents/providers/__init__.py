"""Providers by name, for agents: `get_provider("anthropic", api_key=..., model=...)`. See `cloud.llm.providers`."""

try:
    from cloud.llm.providers import Provider, get_provider, register_provider
except ModuleNotFoundError as error:
    import sys

    # A user's own cloud.py, found before our package.
    file = getattr(sys.modules.get("cloud"), "__file__", None)
    if file is None or error.name not in ("cloud.llm", "cloud.llm.providers"):
        raise
    raise ImportError(
        f"{file} hides the package 'cloud' that ai.ai_agents.providers needs: rename it, or take it off sys.path",
        name="cloud",
        path=file,
    ) from error

__all__ = ["Provider", "get_provider", "register_provider"]
