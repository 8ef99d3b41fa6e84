"""One logical call: requests out, replies in, retries between; and replay of recorded bytes."""
