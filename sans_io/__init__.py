"""The protocol core: arithmetic on bytes and numbers.

Nothing here waits, opens, reads a clock, rolls dice or looks at the environment. Machines are plain objects:
inputs are methods, outputs are return values, time is an argument. See ARCHITECTURE.md.
"""
