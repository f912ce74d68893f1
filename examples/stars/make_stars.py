"""Make CSV files of stars as two telescopes might have written them, into a folder (demo/stars-in by default)."""

import sys
from pathlib import Path

import numpy as np

NOTES = ["", "double", '"near" the edge', "cloud, later clear", "seen twice:\nsee also the next night"]


def make(folder: Path, *, stars: int = 2500) -> None:
    """Two nights of two telescopes."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(2026)
    for telescope, sign in (("north", 1), ("south", -1)):
        for night in range(2):
            lines = ["id,ra,dec,mag,note"]
            for number in range(stars):
                ra, dec = rng.uniform(0, 360), sign * rng.uniform(0, 90)
                mag = "" if rng.random() < 0.02 else f"{rng.normal(14, 2):.3f}"  # some were not measured
                note = NOTES[rng.integers(len(NOTES))].replace('"', '""')
                lines.append(f'{number:06},{ra:.5f},{dec:.5f},{mag},"{note}"')
            (folder / f"{telescope}-{night}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1] if len(sys.argv) > 1 else "demo/stars-in"))
