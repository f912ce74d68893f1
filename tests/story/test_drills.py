"""Drills: whatever a seed decides to do to a campaign, every event is in the merged files once."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eventmill.drill.known_campaign import Size, known_campaign
from eventmill.drill.render import fault_rows, figures, markdown, one_line
from eventmill.drill.saboteur import Saboteur
from eventmill.drill.schedule import FaultKind
from eventmill.drill.signals import HostSignals
from eventmill.drill.verdict import Verdict, as_data, judge
from tests.crew import Crew
from tests.drills import drill_with_crew


@pytest.mark.parametrize("seed", [7, 11, 13])
def test_every_event_survives_what_a_seed_decides(seed: int, tmp_path: Path) -> None:
    """Workers killed, frozen, terminated and replaced, an upload cut short, a commit repeated."""
    verdict = drill_with_crew(seed, tmp_path)
    assert verdict.is_exact, one_line(verdict)
    assert verdict.harmed >= 2
    assert {done.fault.kind for done in verdict.faults} == set(FaultKind)
    assert verdict.recomputed is not None
    # Two ranges in flight for a worker that died, and those of the copies that were tried at the end.
    assert verdict.recomputed <= 2 * verdict.range_events * (verdict.harmed + 3)


def test_a_calm_drill_recomputes_nothing(tmp_path: Path) -> None:
    """The health test: exact, nobody harmed, and it says so."""
    verdict = drill_with_crew(0, tmp_path, faults=0)
    assert verdict.is_exact
    assert (verdict.harmed, verdict.report.losses, verdict.faults) == (0, 0, ())
    assert one_line(verdict).startswith("exact: of 400 events 0 are missing")
    assert dict(figures(as_data(verdict)))["missing"] == "0 of 400 events"
    assert "| missing | 0 of 400 events |" in markdown(verdict)
    assert fault_rows(as_data(verdict)) == []


def test_a_verdict_believes_the_files_alone(tmp_path: Path) -> None:
    """A row taken away, one doubled, one changed behind the ledger's back: each is found."""
    campaign = known_campaign("drill", tmp_path, Size(100, 0.0))
    with Crew(campaign, tmp_path) as crew:
        crew.run()
        saboteur = Saboteur(crew.opened, (), HostSignals())

        def verdict() -> Verdict:
            return judge(crew.opened, saboteur, events=100, diary=tmp_path / "diary")

        assert verdict().is_exact
        path = sorted((tmp_path / "out").glob("*.parquet"))[0]
        whole = pq.ParquetFile(path).read()
        for table, found in (
            (whole.slice(1), (0, 1, 0)),
            (pa.concat_tables([whole, whole.slice(0, 2)]), (2, 0, 0)),
            (whole.set_column(1, "check", pa.array(range(len(whole)))), (0, 0, len(whole))),
            (whole.set_column(0, "event", pa.array(range(1000, 1000 + len(whole)))), (0, len(whole), len(whole))),
        ):
            path.unlink()
            pq.write_table(table, path)
            now = verdict()
            assert (now.duplicates, now.missing, now.wrong) == found
            assert not now.is_exact
            assert one_line(now).startswith("NOT exact")
        path.unlink()
        pq.write_table(whole, path)
