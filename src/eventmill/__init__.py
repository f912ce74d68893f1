"""Ranges of events, processed on workers that may vanish, merged exactly once."""

__version__ = "0.1.0"
