"""Recorded exchanges: writing them down, and playing them back."""
