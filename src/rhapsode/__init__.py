"""Rhapsode: a text-to-speech server that never loses work."""

__all__: list[str] = []
