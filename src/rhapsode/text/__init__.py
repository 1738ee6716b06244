"""Text to plan: pure functions, no I/O."""
