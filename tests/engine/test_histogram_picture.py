"""The picture of a campaign's histograms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hist
import pytest

from eventmill.reports.histogram_plot import draw

REGULAR = hist.axis.Regular(5, 0, 1, name="x", label="x [GeV]")
WORDS = hist.axis.StrCategory(["mu", "e"], name="lepton")
INTEGERS = hist.axis.Integer(0, 4, name="jets")


ALL = [[REGULAR], [WORDS], [INTEGERS], [REGULAR, WORDS], [WORDS, INTEGERS], [REGULAR, INTEGERS, WORDS]]


@pytest.mark.parametrize("storage", [hist.storage.Double(), hist.storage.Weight(), hist.storage.Mean()], ids=repr)
def test_histograms_of_any_axes_are_drawn(storage: Any, tmp_path: Path) -> None:
    """In one and two dimensions; of others the name is told."""
    total = {f"h{number}": hist.Hist(*axes, storage=storage) for number, axes in enumerate(ALL)}
    draw(total, tmp_path / "picture.png", title="empty")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_of_many_stays_a_picture(tmp_path: Path) -> None:
    """The first 24 are drawn."""
    draw({f"h{n}": hist.Hist(REGULAR) for n in range(30)}, tmp_path / "picture.png", title="many")
    assert (tmp_path / "picture.png").stat().st_size < 1_000_000
