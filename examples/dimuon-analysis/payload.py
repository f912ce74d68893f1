"""Selects Z -> mu+ mu- candidates from events with lists of muons. Looks at each event on its own."""

from __future__ import annotations

from collections.abc import Sequence

import awkward as ak
import numpy as np
import pyarrow as pa

from eventmill.payloads import Where

MUON_MASS = 0.1056584  # GeV (Particle Data Group 2024)
Z_MASS = 91.188  # GeV (Particle Data Group 2024)

SCHEMA = pa.schema(
    [("event", pa.int64()), ("mass", pa.float64()), ("pt", pa.float64()), ("rapidity", pa.float64())]
)
"""One row per candidate; mass and pt of the muon pair in GeV."""


def select_z(
    events: pa.Table,
    where: Where,
    *,
    window: Sequence[float] = (71.0, 111.0),
    min_pt: float = 20.0,
    max_eta: float = 2.4,
) -> pa.Table:
    """At most one Z candidate for each event, by `SCHEMA`, in the order of the events.

    `events` has event (int64) and the lists charge, pt (GeV), eta, phi of its muons. A candidate is two muons
    of opposite charge, each with pt > `min_pt` and |eta| < `max_eta`, with a mass inside `window`; of
    several, the one nearest to the Z mass. `where` is not needed: the event numbers are in the table.
    """
    low, high = window
    table = ak.from_arrow(events)
    muons = ak.zip({name: table[name] for name in ("charge", "pt", "eta", "phi")})
    muons = muons[(muons.pt > min_pt) & (abs(muons.eta) < max_eta)]
    pairs = ak.combinations(muons, 2, fields=["one", "two"])
    pairs = pairs[pairs.one.charge != pairs.two.charge]
    energy, px, py, pz = (a + b for a, b in zip(_momentum(pairs.one), _momentum(pairs.two), strict=True))
    mass = np.sqrt(energy**2 - px**2 - py**2 - pz**2)
    number, _ = ak.broadcast_arrays(table.event, mass)
    found = ak.zip({"event": number, "mass": mass, "pt": np.hypot(px, py), "rapidity": np.arctanh(pz / energy)})
    found = found[(low < mass) & (mass < high)]
    nearest = ak.argmin(abs(found.mass - Z_MASS), axis=1, keepdims=True)
    best = ak.flatten(ak.drop_none(found[nearest], axis=1))
    return pa.table({name: ak.to_numpy(best[name]) for name in SCHEMA.names}, schema=SCHEMA)


def _momentum(muons: ak.Array) -> tuple[ak.Array, ak.Array, ak.Array, ak.Array]:
    """Energy, px, py, pz in GeV from pt, eta, phi and the mass of a muon."""
    momentum = muons.pt * np.cosh(muons.eta)
    energy = np.sqrt(momentum**2 + MUON_MASS**2)
    return energy, muons.pt * np.cos(muons.phi), muons.pt * np.sin(muons.phi), muons.pt * np.sinh(muons.eta)
