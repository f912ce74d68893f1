"""The user's code: locate it, ship it, run it in a warm child process, make its results columnar.

Payloads need only one name from here, for annotations: `Where`.
"""

from eventmill.payloads.calls import Where

__all__ = ["Where"]
