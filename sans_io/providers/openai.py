"""Public path of the OpenAI codec, which lives in `sans_io.providers.openai_chat`."""

from .openai_chat.codec import OpenAICodec

__all__ = ["OpenAICodec"]
