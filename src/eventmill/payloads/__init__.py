"""The user's code: found, shipped, run in a warm child process, its results made columnar.

A payload needs one name from here, and only for its annotations: `Where`.
"""

from eventmill.payloads.calls import Where

__all__ = ["Where"]
