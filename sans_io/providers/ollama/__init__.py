"""Ollama's own API: chat, and the management of models."""

from .codec import OllamaCodec

__all__ = ["OllamaCodec"]
