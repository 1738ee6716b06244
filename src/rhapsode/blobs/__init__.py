"""Takes and results as bytes."""
