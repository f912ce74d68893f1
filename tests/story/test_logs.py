"""What the engine says of its work: few lines, with fields, for whoever listens, and never a secret."""

from __future__ import annotations

import ast
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from eventmill import logs
from eventmill.campaign.choice import Changed
from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.decision_log import DecisionLog
from eventmill.campaign.merge_queue import begin_due
from eventmill.campaign.open import open_campaign
from eventmill.campaign.split_inputs import register, split
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.leases import Block, Claim, FailureKind, FailureReport, Lease
from eventmill.core.ranges import EventRange, Input
from eventmill.payloads.pool import stop_all
from eventmill.rules.sizing import RangeSize
from eventmill.runtime.process_id import this_process
from eventmill.work.block import run_block
from eventmill.work.block_log import BlockLog
from eventmill.work.merge import run_merge

SOURCES = Path(__file__).parents[2]
SECRET = "hunter2-xyzzy"

PAYLOAD = """
import pyarrow as pa

def square(events, where, *, token):
    if 7 in events:
        raise ValueError(f"{token} is refused")
    return pa.table({"event": events})
"""


class Listener(logging.Handler):
    """Keeps every record."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def lines(self, level: int, *loggers: str) -> list[str]:
        """Messages of this level, of these modules."""
        return [r.getMessage() for r in self.records if r.levelno == level and r.name.endswith(loggers or ("",))]


@pytest.fixture
def listener() -> Iterator[Listener]:
    """Listens at DEBUG to all that the engine says in this process; then all is as it was."""
    logger, listener = logging.getLogger(logs.ROOT), Listener()
    before = (logger.level, logger.propagate, list(logger.handlers))
    logger.addHandler(listener)
    logger.setLevel(logging.DEBUG)
    yield listener
    logs.hide()
    logger.setLevel(before[0])
    logger.propagate, logger.handlers = before[1], before[2]


def run_here(spec: CampaignSpec, folder: Path, *, changed: Changed = Changed.STOP) -> None:
    """The whole campaign by one worker in this process."""
    opened, me = open_campaign(spec, folder=folder, changed=changed), str(this_process())
    with Coordinator(opened, spec) as coordinator:
        found, unreadable = split(coordinator.unsplit(), opened.order.source, folder=opened.order.folder)
        register(opened, spec, found, unreadable)
        while not coordinator.close_if_finished():
            block = coordinator.next_block(slots=1)
            assert block is not None
            run_block(opened.order, block.id, holder=me)
        for merge_id in begin_due(opened):
            run_merge(opened.order, merge_id, holder=me)
        coordinator.finish()
    stop_all()


def test_a_block_is_one_line_and_a_range_none(
    campaign: Callable[..., CampaignSpec], tmp_path: Path, listener: Listener
) -> None:
    """At INFO; every range is there at DEBUG. The lines have the fields that programs want."""
    run_here(campaign("number", events=600, ranges={"events": 10}, merge={"events": 300}), tmp_path)
    ends = [r for r in listener.records if r.name.endswith("block_log") and r.levelno == logging.INFO]
    reserved = [r for r in listener.records if "reserved" in r.getMessage()]
    assert 0 < len(ends) == len(reserved)
    assert sum(record.__dict__["events"] for record in ends) == 600
    fields = ends[0].__dict__
    assert (fields["campaign"], fields["input"], fields["start"]) == ("story", "generated:0-300", 0)
    assert fields["block"] and fields["attempt"] and fields["worker"] == str(this_process())
    ranges = [line for line in listener.lines(logging.DEBUG, "block_log") if line.startswith("range [")]
    assert len(ranges) == 60 and all("accepted, 10 rows" in line for line in ranges)
    info = listener.lines(logging.INFO)
    assert len(info) <= len(ends) + 2 * 2 + 8  # two merges, each made and published, and what is said once
    for once in ("opened: 2 inputs", "2 inputs with 600 events split", "ranges have 10 events", "is finished"):
        assert sum(once in line for line in info) == 1, once
    assert sum("published" in line for line in info) == 2
    assert not listener.lines(logging.WARNING)


def test_no_line_holds_a_secret(campaign: Callable[..., CampaignSpec], tmp_path: Path, listener: Listener) -> None:
    """A parameter is in none, though it changed, and though the payload's exception says it."""
    (tmp_path / "payload.py").write_text(PAYLOAD)
    story: dict[str, Any] = {"events": 40, "ranges": {"events": 5}, "target": 0.9, "limits": {"failures": 1}}
    spec = campaign(f"{tmp_path}/payload.py:square", parameters={"token": f"old-{SECRET}"}, **story)
    open_campaign(spec, folder=tmp_path)
    spec = campaign(f"{tmp_path}/payload.py:square", parameters={"token": SECRET}, **story)
    run_here(spec, tmp_path, changed=Changed.ACCEPT)
    everything = "\n".join(f"{logs.AsJson().format(record)} {record.__dict__}" for record in listener.records)
    assert "continues with changes: payload.parameters.token" in everything
    assert "failed: payload" in everything
    assert SECRET not in everything


def test_nothing_secret_is_handed_to_a_logger() -> None:
    """What holds ledger urls, parameters, credentials, or a payload's own words is named in no logging call."""
    never = {"ledger_url", "parameters", "credentials", "summary", "traceback", "printed", "detail", "password"}
    calls = 0
    for path in [path for folder in ("src", "flows", "tasks") for path in (SOURCES / folder).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "logger"
            ):
                calls += 1
                told = {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}
                told |= {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
                assert not told & never, f"{path.name}:{node.lineno}"
    assert calls > 25


@pytest.mark.parametrize("kind", FailureKind)
def test_of_a_failure_only_the_kind_is_told(kind: FailureKind, listener: Listener) -> None:
    """Whatever the payload, Python or a library said of it may hold a parameter."""
    item = Input(1, 0, "in.parquet", 10, 0, "identity")
    lease = Lease(1, 1, 1, 1, "host:1:1", datetime.now(UTC))
    claim = Claim(lease, timedelta(seconds=60), item, Block(1, 1, 0, 0, 10, 5), (EventRange(0, 10),), None)
    log, failure = BlockLog("c", claim), FailureReport(kind, f"{SECRET}: {SECRET}", traceback=SECRET)
    log.failed(EventRange(0, 5), failure)
    log.setup_failed(failure)
    told = listener.lines(logging.DEBUG) + listener.lines(logging.INFO)
    assert any(str(kind) in line for line in told)
    assert not any(SECRET in line for line in told)


def test_why_a_decision_fell_is_told(listener: Listener) -> None:
    """Range length, another worker, a duplicate, what is taken back. A size that hardly changed is no news."""
    log = DecisionLog("story")
    for events in (10, 15, 40, 30):
        log.range_size(
            RangeSize(events=events, seconds=2.0, losses_per_second=0.01, overhead_seconds=0.1), is_set=False
        )
    block = Block(5, 1, 0, 100, 200, 10, avoid=("a:1:1",))
    log.reserved(block)
    log.duplicated(3, block)
    log.shortened(3, at=150, freed=50, why="slots are idle")
    assert listener.lines(logging.INFO) == [
        "ranges have 10 events from now on, about 2 s: a busy slot is lost 36 times per hour",
        "ranges have 40 events from now on, about 2 s: a busy slot is lost 36 times per hour",
        "block 5, file 0 [100, 200), goes to another worker: it failed on a:1:1",
        "block 3 is duplicated as block 5 for a second worker: the first worker is slow, and slots are idle",
        "block 3 is shortened by 50 events, to [..., 150): slots are idle",
    ]


def test_lines_are_shown_from_a_level_on(listener: Listener, capsys: pytest.CaptureFixture[str]) -> None:
    """For people; the last call holds, and nothing is said twice."""
    logger = logging.getLogger("eventmill.somewhere")
    logs.show(logs.Level.INFO, as_json=True)
    logs.show(logs.Level.WARNING, as_json=False)
    logger.info("a block")
    logger.warning("the store is \x1b[31maway")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("+00:00 WARNING the store is \\x1b[31maway")
    logs.hide()
    logger.warning("again")
    assert "again" not in capsys.readouterr().err


def test_as_json_each_line_is_an_object_with_its_fields(
    listener: Listener, capsys: pytest.CaptureFixture[str]
) -> None:
    """An exception's traceback is a field too; what is not known is left out."""
    logs.show(logs.Level.DEBUG, as_json=True)
    logger = logging.getLogger("eventmill.somewhere")
    logger.debug("block %d\nclaimed", 5, extra={"campaign": "c", "block": 5, "worker": "host:1:2", "reason": None})
    try:
        raise ValueError("of an observer")
    except ValueError:
        logger.warning("it failed", exc_info=True)
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "DEBUG",
        "logger": "eventmill.somewhere",
        "message": "block 5\nclaimed",
        "campaign": "c",
        "block": 5,
        "worker_id": "host:1:2",
    }
    assert second["traceback"].endswith("ValueError: of an observer")


def test_who_listens_makes_nobody_else_hear_more(listener: Listener) -> None:
    """Prefect's run logs want INFO; handlers of the root logger go on with its own level."""
    root, above = logging.getLogger(), Listener()
    before = root.level
    root.addHandler(above)
    try:
        root.setLevel(logging.WARNING)
        logging.getLogger(logs.ROOT).setLevel(logging.NOTSET)
        logs.listen(logging.INFO)
        logger = logging.getLogger("eventmill.somewhere")
        logger.info("a block")
        logger.warning("the store is away")
        assert above.lines(logging.INFO) == [] and above.lines(logging.WARNING) == ["the store is away"]
        assert "a block" in listener.lines(logging.INFO)
        root.setLevel(logging.INFO)
        logger.info("another block")
        assert above.lines(logging.INFO) == ["another block"]
    finally:
        root.removeHandler(above)
        root.setLevel(before)


@pytest.mark.system
def test_a_run_tells_on_stderr_what_it_and_its_workers_do(tmp_path: Path) -> None:
    """One JSON object a line, and nothing else there."""
    (tmp_path / "payload.py").write_text(PAYLOAD)
    spec = {
        "name": "squares",
        "inputs": {"generated": {"events": 60, "files": 2}},
        "payload": {"callable": "payload.py:square", "parameters": {"token": SECRET}},
        "output": {"store": "out", "merge": {"events": 20}},
        "ranges": {"events": 5},
        "target": 0.9,
    }
    (tmp_path / "campaign.yaml").write_text(yaml.safe_dump(spec))
    command = [sys.executable, "-m", "eventmill", "run", "campaign.yaml", "--workers", "1"]
    done = subprocess.run(
        [*command, "--log-level", "INFO", "--log-json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stderr.splitlines() if line]
    assert {"INFO"} == {line["level"] for line in told}
    blocks = [line for line in told if line["logger"].endswith("block_log")]
    assert sum(line["events"] for line in blocks) >= 54
    assert any(line["message"].startswith("campaign 'squares' is finished") for line in told)
    assert SECRET not in done.stderr
