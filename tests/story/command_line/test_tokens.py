"""`eventmill token`: made, listed, revoked; the secret is shown once, and kept nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventmill.cli.serve import serve
from eventmill.cli.token import Action, token
from eventmill.core.access_tokens import Role
from eventmill.errors import LedgerError
from tests.engine.service_lab import RawPilot, served_lab


def test_a_token_is_made_listed_and_revoked(
    tmp_path: Path, long_lead: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """With it its sessions end, and their blocks go to others."""
    path = str(tmp_path / "ledger.sqlite")
    with served_lab(tmp_path) as lab:
        token(Action.CREATE, None, Role.PILOT, ["c"], "for Ada", "1h", path)
        made = capsys.readouterr().out.strip()
        number, secret = made.split("_", 2)[1:]
        token(Action.LIST, None, Role.PILOT, None, "", "30d", path)
        listed = capsys.readouterr().out
        assert number in listed and "for Ada" in listed and secret not in listed
        assert secret.encode() not in (tmp_path / "ledger.sqlite").read_bytes()
        pilot = RawPilot(lab, made)
        lab.offer("c")
        assert len(pilot.acquire()) == 1
        token(Action.REVOKE, made, Role.PILOT, None, "", "30d", path)
        said = capsys.readouterr().out
        assert number in said and "1 block of its pilots went to others" in said and secret not in said
        assert lab.campaigns["c"].counts().leased == 0
        with pytest.raises(LedgerError, match="no token 000000000000") as unknown:
            token(Action.REVOKE, f"evm_000000000000_{secret}", Role.PILOT, None, "", "30d", path)
        assert secret not in str(unknown.value)


def test_a_token_for_a_campaign_that_is_not_there_is_made_with_a_note(
    tmp_path: Path, long_lead: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may come later, or its name is mistyped. What a script reads is the token alone."""
    path = str(tmp_path / "ledger.sqlite")
    with served_lab(tmp_path):
        token(Action.CREATE, None, Role.PILOT, ["c", "nosuch"], "", "1h", path)
        said = capsys.readouterr()
        assert len(said.out.split()) == 1 and said.out.startswith("evm_")
        assert "there is no campaign 'nosuch' in this ledger yet" in said.err and "'c'" not in said.err
        token(Action.CREATE, None, Role.PILOT, ["c"], "", "1h", path)
        assert capsys.readouterr().err == ""


def test_without_a_ledger_it_is_said_what_creates_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever begins with a service has no campaign yet. Nothing is created by asking."""
    monkeypatch.chdir(tmp_path)
    for ask in (lambda: token(Action.CREATE), lambda: serve()):
        with pytest.raises(LedgerError, match=r"no ledger at .*'eventmill serve --lead CAMPAIGN.yaml' creates"):
            ask()
    assert list(tmp_path.iterdir()) == []
