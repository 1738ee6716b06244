"""The command line: one file per command; ``group`` joins them."""

try:
    from rhapsode.cli.group import entry, main
except KeyboardInterrupt:  # loading all of it takes a second
    raise SystemExit(130) from None

__all__ = ["entry", "main"]
