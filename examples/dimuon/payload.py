"""Proton collisions that make a pair of muons, generated with Pythia 8. An event is its number, no more."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pythia8mc

from eventmill.payloads import Where

EVENTS_PER_SEED = 1_000_000
SEEDS = 899  # Pythia tells 900,000,000 seeds apart

SCHEMA = pa.schema(
    [
        ("event", pa.int64()),
        ("charge", pa.list_(pa.int8())),
        ("pt", pa.list_(pa.float64())),
        ("eta", pa.list_(pa.float64())),
        ("phi", pa.list_(pa.float64())),
    ]
)
"""One row per event, also without muons; pt in GeV, phi in (-pi, pi], the muons in Pythia's order."""


class Dimuon:
    """pp -> gamma*/Z -> mu+ mu- at 13.6 TeV, down to all stable particles.

    `seed` in [1, 899] chooses among independent samples of a million events each. Muons below `min_pt` GeV
    are left out; `min_mass` is the least mass of the pair in GeV, as it leaves the hard process.

    Setting it up takes about a second, an event some 10 ms. Which events come in one call, and in which
    order, changes none of them: Pythia is set up alike everywhere, and each event begins its own random
    numbers.
    """

    def __init__(self, *, seed: int = 1, min_pt: float = 0.0, min_mass: float = 20.0) -> None:
        if not 1 <= seed <= SEEDS:
            raise ValueError(f"seed {seed} is not in [1, {SEEDS}]")
        self._first_seed = seed * EVENTS_PER_SEED
        self._min_pt = min_pt
        self._pythia = pythia8mc.Pythia("", False)  # its own data files, no banner
        for setting in (
            "Print:quiet = on",
            "Beams:eCM = 13600.",
            "WeakSingleBoson:ffbar2gmZ = on",
            "23:onMode = off",
            "23:onIfAny = 13",
            f"PhaseSpace:mHatMin = {min_mass}",
            # The set-up draws random numbers too. It must come out alike for all workers and all seeds.
            "Random:setSeed = on",
            "Random:seed = 1",
        ):
            self._pythia.readString(setting)
        if not self._pythia.init():
            raise RuntimeError(f"Pythia could not be set up with min_mass = {min_mass} GeV")

    def __call__(self, events: npt.NDArray[np.int64], where: Where) -> pa.Table:
        """The muons of each event number in `events`, by `SCHEMA`. `where` is not needed: nothing is read."""
        return pa.Table.from_pylist([self._row(int(number)) for number in events], schema=SCHEMA)

    def _row(self, number: int) -> dict[str, object]:
        self._generate(number)
        muons = [p for p in self._pythia.event if p.idAbs() == 13 and p.isFinal() and p.pT() >= self._min_pt]
        return {
            "event": number,
            "charge": [-1 if muon.id() > 0 else 1 for muon in muons],  # 13 is the mu-
            "pt": [muon.pT() for muon in muons],
            "eta": [muon.eta() for muon in muons],
            "phi": [muon.phi() for muon in muons],
        }

    def _generate(self, number: int) -> None:
        if not 0 <= number < EVENTS_PER_SEED:
            raise ValueError(f"event {number} is not in [0, {EVENTS_PER_SEED}): take another seed")
        self._pythia.rndm.init(self._first_seed + number)
        for _ in range(100):
            if self._pythia.next():  # it gives up an event now and then; going on is as reproducible
                return
        raise RuntimeError(f"Pythia could not generate event {number} in 100 attempts")
