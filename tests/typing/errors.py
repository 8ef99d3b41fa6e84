"""Errors and what they carry."""

from __future__ import annotations

import pickle

from cloud.llm import (
    ChatResponse,
    LLMAuthError,
    LLMBadRequestError,
    LLMContextLengthError,
    LLMError,
    LLMRateLimitError,
    LLMStreamError,
    LLMTimeoutError,
    Message,
    OllamaClient,
)

MESSAGES: list[Message] = [{"role": "user", "content": "Hello!"}]


def careful(client: OllamaClient) -> str:
    try:
        return client.chat(MESSAGES).content
    except LLMRateLimitError as error:
        wait: float = error.retry_after or 1.0
        return f"wait {wait:.1f} s"
    except LLMContextLengthError as error:
        return f"{(error.requested or 0) - (error.limit or 0)} tokens too many"
    except LLMAuthError:
        return "no key"
    except LLMTimeoutError as error:
        return error.phase or ""
    except LLMStreamError as error:
        partial: ChatResponse | None = error.partial
        return partial.content if partial is not None else ""
    except LLMError as error:
        status: int | None = error.status_code
        print(error.message.upper(), status, error.code, error.request_id, len(error.attempts), error.may_be_billed)
        copy: LLMError = pickle.loads(pickle.dumps(error))
        raise copy from error


def is_ours(error: Exception) -> bool:
    return isinstance(error, LLMBadRequestError) and error.provider == "ollama"
