"""Whatever is wrong with what a user gives: one line that names it, an exit code, and nothing made or changed."""

from __future__ import annotations

from pathlib import Path

import pytest
import stamina

from tests.servers import SECRET, S3Server, environment
from tests.story.command_line.bad_input import BAD, Bad, parquet_file, with_keys
from tests.story.command_line.conftest import CommandLine, write_campaign

ROWS = [pytest.param(bad, command, id=f"{command}: {bad.name}") for bad in BAD for command in bad.commands]


def contents(folder: Path) -> dict[Path, bytes | None]:
    """All files and folders, without what Python itself keeps of imported modules."""
    found = (path for path in folder.rglob("*") if "__pycache__" not in path.parts)
    return {path: path.read_bytes() if path.is_file() else None for path in found}


@pytest.mark.parametrize(("bad", "command"), ROWS)
def test_bad_input_is_one_clear_line_and_changes_nothing(
    bad: Bad, command: str, folder: Path, command_line: CommandLine
) -> None:
    """One line on standard error names what is wrong; no traceback, no ledger, no output folder."""
    bad.make(folder)
    before = contents(folder)
    ended = command_line(command, "campaign.yaml")
    assert ended.err.startswith("eventmill: ") and ended.err.count("\n") == 1, ended.err
    assert ended.code == 1
    assert [words for words in bad.words if words not in ended.err] == [], ended.err
    assert ended.out == ""
    assert contents(folder) == before


AWAY: dict[str, tuple[dict[str, str], str, str]] = {
    "wrong secret": ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "s3://out/x", "the secret key is wrong for http://127"),
    "wrong key": ({"AWS_ACCESS_KEY_ID": "nobody"}, "s3://out/x", "does not know this access key"),
    "no bucket": ({}, "s3://nowhere/x", "there is no bucket 'nowhere' at http://127"),
    "out of reach": ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "s3://out/x", "cannot reach http://127.0.0.1:9"),
}


@pytest.mark.parametrize("command", ["validate", "run"])
@pytest.mark.parametrize("what", AWAY)
def test_a_store_that_cannot_be_used_is_one_clear_line(
    what: str, command: str, rclone_server: S3Server, folder: Path, command_line: CommandLine
) -> None:
    """With the bucket or the endpoint, before anything is begun, and without a secret."""
    changed, store, said = AWAY[what]
    with_keys(output__store=store)(folder)
    before = contents(folder)
    with environment(rclone_server.environment | changed), stamina.set_testing(True, attempts=2):
        ended = command_line(command, "campaign.yaml")
    assert ended.err.startswith("eventmill: the store s3://") and ended.err.count("\n") == 1, ended.err
    assert said in ended.err and SECRET not in ended.err
    assert (ended.code, ended.out, contents(folder)) == (1, "", before)


@pytest.mark.parametrize("what", AWAY)
def test_inputs_that_cannot_be_reached_are_one_clear_line(
    what: str, rclone_server: S3Server, folder: Path, command_line: CommandLine
) -> None:
    """As the store is."""
    changed, store, said = AWAY[what]
    with_keys(inputs={"files": [f"{store}/*.root"]})(folder)
    with environment(rclone_server.environment | changed), stamina.set_testing(True, attempts=2):
        ended = command_line("validate", "campaign.yaml")
    assert ended.err.startswith(f"eventmill: {store}/*.root cannot be listed: ") and ended.err.count("\n") == 1
    assert said in ended.err and SECRET not in ended.err and ended.code == 1


def test_credentials_in_a_url_are_not_repeated(folder: Path, command_line: CommandLine) -> None:
    """Neither for inputs nor for the store, whatever else is wrong."""
    inputs = {"files": [f"s3://k:{SECRET}@b/a.root"], "tree": 1}
    for keys in ({"inputs": inputs}, {"output__store": f"s3://k:{SECRET}@b"}):
        with_keys(**keys)(folder)
        ended = command_line("validate", "campaign.yaml")
        assert "a url contains a password or secret key" in ended.err and SECRET not in ended.err + ended.out


NAMED = [
    pytest.param(["squares"], "there is no ledger at", 1, id="no ledger for a name"),
    pytest.param(["squares", "--ledger", "."], "ledger", 1, id="the ledger is a folder"),
    pytest.param(["squares", "--ledger", "payload.py"], "not a database", 1, id="the ledger is no database"),
    pytest.param(["campaign.yaml", "--ledger", "a"], "names its own ledger", 2, id="file and ledger"),
    pytest.param(["squares", "--jsn"], "--json", 2, id="unknown option"),
]


def test_a_campaign_must_be_named(command_line: CommandLine) -> None:
    """Except for `status`, which lists all; here there is none."""
    ended = command_line("audit")
    assert ended.code == 2 and "Missing argument 'CAMPAIGN'" in ended.err
    ended = command_line("status")
    assert ended.code == 1 and ended.err.startswith(
        "eventmill: no campaign was begun in .eventmill/ledger.sqlite or"
    )


@pytest.mark.parametrize("command", ["status", "audit", "outputs", "abandoned"])
@pytest.mark.parametrize(("words", "said", "code"), NAMED)
def test_a_campaign_that_cannot_be_found_is_one_clear_line(
    command: str, words: list[str], said: str, code: int, folder: Path, command_line: CommandLine
) -> None:
    """Names and ledgers are refused as clearly as files."""
    write_campaign(folder)
    before = contents(folder)
    ended = command_line(command, *words)
    assert ended.err.startswith("eventmill: ") and ended.err.count("\n") == 1, ended.err
    assert said in ended.err and ended.code == code and ended.out == ""
    assert contents(folder) == before


def test_an_unknown_name_is_answered_with_the_names_there_are(
    processed_campaign: Path, command_line: CommandLine
) -> None:
    """Whoever mistyped sees at once what was meant."""
    ended = command_line("status", "sqares")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "eventmill: the ledger has no campaign 'sqares'; it has: squares.\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rnu"], "No such command 'rnu'. Did you mean 'run'? See 'eventmill --help'."),
        (["run", "campaign.yaml", "--changed", "maybe"], "must be stop, accept, restart or keep, not 'maybe'."),
        (["run", "campaign.yaml", "--changed", "kep"], "not 'kep' (did you mean 'keep'?). See 'eventmill run --h"),
        (["run", "campaign.yaml", "--log-level", "info!"], "'--log-level' must be DEBUG, INFO, WARNING or ERROR"),
        (["run", "campaign.yaml", "--workers", "0"], "'--workers' must be at least 1, not '0'."),
        (["try", "campaign.yaml", "--events", "ten"], "'--events' must be a whole number, not 'ten'."),
        (["try", "campaign.yaml", "--start", "-1"], "'--start' must be at least 0, not '-1'."),
    ],
)
def test_a_command_that_is_not_understood_ends_with_2(
    words: list[str], said: str, folder: Path, command_line: CommandLine
) -> None:
    """Usage errors have a code of their own and point to the help."""
    write_campaign(folder)
    ended = command_line(*words)
    assert ended.code == 2 and ended.out == ""
    assert said in ended.err and " --help'." in ended.err and ended.err.count("\n") == 1


def test_unreadable_inputs_may_be_left_out_but_are_named(folder: Path, command_line: CommandLine) -> None:
    """With `unreadable: leave_out` a campaign is valid without them, and says which."""
    parquet_file(folder / "good.parquet")
    (folder / "bad.parquet").write_bytes(b"")
    with_keys(inputs={"files": ["*.parquet"], "unreadable": "leave_out"})(folder)
    ended = command_line("validate", "campaign.yaml")
    assert ended.code == 0
    assert "1 input (parquet) with 1,000 events; 1 cannot be read and will be left out: bad.parquet" in ended.out
