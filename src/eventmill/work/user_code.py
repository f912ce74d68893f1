"""The user's code on this machine: fetched from the ledger once in each process, and checked each time."""

from __future__ import annotations

from functools import lru_cache

from eventmill.core.work_order import PayloadCode
from eventmill.ledger import block_ledger
from eventmill.payloads import bundles
from eventmill.payloads.calls import PayloadEntry
from eventmill.payloads.locate import check_installed
from eventmill.payloads.unpack import put_code
from eventmill.runtime.scratch import code_folder

_new: dict[str, PayloadCode] = {}
"""Code that this process found itself, by digest: a campaign is compared and checked before the ledger has it."""


def remember(code: PayloadCode) -> None:
    """Have `payload_entry` find this code, which the ledger may not have yet."""
    _new[code.digest] = code


def payload_entry(ledger_url: str, digest: str) -> PayloadEntry:
    """The code with this digest, ready to be imported.

    Raises `PayloadError` if it is not the code with this digest, `ScratchError` if it cannot be unpacked.
    """
    if digest in _new:
        code = _new[digest]
        files = None if code.bundle is None else _unpacked(code)
    else:
        code, files = _code(ledger_url, digest)
    if files is None:
        check_installed(code)
        return PayloadEntry(code.entry, code.digest, None)
    return PayloadEntry(code.entry, code.digest, put_code(files, code.digest, code_folder()))


@lru_cache(maxsize=8)
def _code(ledger_url: str, digest: str) -> tuple[PayloadCode, dict[str, bytes] | None]:
    code = block_ledger(ledger_url).code(digest)
    return code, None if code.bundle is None else _unpacked(code)


def _unpacked(code: PayloadCode) -> dict[str, bytes]:
    assert code.bundle is not None
    return bundles.unpack(code.bundle, entry=code.entry, digest=code.digest)
