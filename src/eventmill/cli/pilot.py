"""eventmill pilot."""

from __future__ import annotations

from eventmill.pilot.command import pilot

__all__ = ["pilot"]
