"""Writes three nights of 20,000 made-up stars each, as Parquet files, into the folder `sky` beside this script."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

SKY = Path(__file__).with_name("sky")


def main() -> None:
    """The same stars each time."""
    random = np.random.default_rng(2026)
    SKY.mkdir(exist_ok=True)
    for night in range(3):
        stars = pd.DataFrame({"ra": random.uniform(0, 360, 20_000), "dec": random.uniform(-90, 90, 20_000)})
        stars["mag"] = random.normal(15, 2, 20_000)
        stars.to_parquet(SKY / f"night-{night}.parquet")
    print(f"wrote 3 files with 60,000 stars into {SKY}")


if __name__ == "__main__":
    main()
