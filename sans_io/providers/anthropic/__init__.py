"""Anthropic's Messages API."""

from .codec import AnthropicCodec

__all__ = ["AnthropicCodec"]
