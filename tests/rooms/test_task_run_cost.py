"""What a task run costs before it begins: not the certificates of all authorities."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_TLS_INSECURE_SKIP_VERIFY, PREFECT_API_URL, temporary_settings

from eventmill.prefect_api import tls_cache

HERE = "https://127.0.0.1:9/api"


def test_certificates_are_read_once_and_one_that_checks_nothing_is_nobody_elses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many clients Prefect makes; the next one checks, whatever the last one did."""
    made: list[ssl.SSLContext] = []
    real = ssl.create_default_context

    def counted(**wanted: Any) -> ssl.SSLContext:
        made.append(real(**wanted))
        return made[-1]

    tls_cache.read_certificates_once()
    tls_cache._context_of.cache_clear()
    monkeypatch.setattr(ssl, "create_default_context", counted)
    for insecure in (False, False, True, False):
        with temporary_settings({PREFECT_API_URL: HERE, PREFECT_API_TLS_INSECURE_SKIP_VERIFY: insecure}):
            get_client(sync_client=True)
    assert [context.verify_mode for context in made] == [ssl.CERT_REQUIRED, ssl.CERT_NONE]
