"""OpenAI's chat completions and everything compatible with them."""
