"""Policies as pure data and arithmetic: deadlines, retries, the connection pool, caps. They know no provider."""
