"""Select bright stars, after correcting their magnitudes for the telescope and for dust."""

import json
from pathlib import Path

import numpy as np


class Bright:
    """Stars brighter than `limit` magnitudes."""

    def __init__(self, *, limit):
        """Read the table of corrections once for each process; `payload.files` ships it with this file."""
        self.limit = limit
        table = json.loads((Path(__file__).parent / "extinction.json").read_text())
        self.latitudes, self.extinction = table["latitude"], table["magnitudes"]

    def __call__(self, events, where):
        """One row for each bright star of this range; `where` knows the telescope and its zero point."""
        stars = events.to_pandas()
        dust = np.interp(np.abs(stars.dec), self.latitudes, self.extinction)
        stars["mag"] = stars.mag + where.parameters["zero_point"] - dust
        stars["telescope"] = where.label
        return stars[stars.mag < self.limit]  # a star whose magnitude is missing is not bright
