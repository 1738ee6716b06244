"""The command line: one file per command; ``group`` joins them."""

from rhapsode.cli.group import entry, main

__all__ = ["entry", "main"]
