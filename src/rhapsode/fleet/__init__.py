"""Workers: processes that hold engines."""
