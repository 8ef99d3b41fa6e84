"""Servers of the wires in memory and on a loopback socket, and what they are scripted to say."""
