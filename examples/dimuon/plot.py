"""Draws the dimuon mass from merged files."""

from __future__ import annotations

import sys
from pathlib import Path

import awkward as ak
import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

LOWEST, HIGHEST, BINS = 20.0, 140.0, 60  # GeV
Z_MASS = 91.188  # GeV (Particle Data Group 2024)
BLUE, GREY = "#1f5a94", "#666666"


def read_masses(folder: Path) -> tuple[int, npt.NDArray[np.float64]]:
    """How many events the merged files of `folder` have, and the mass in GeV of each opposite-charge pair."""
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise SystemExit(f"{folder} has no merged files (*.parquet); run the campaign first.")
    events = ak.concatenate([ak.from_parquet(file) for file in files])
    muons = ak.zip({name: events[name] for name in ("charge", "pt", "eta", "phi")})
    one, two = ak.unzip(ak.combinations(muons, 2))
    opposite = one.charge != two.charge
    return len(events), ak.to_numpy(ak.flatten(pair_mass(one[opposite], two[opposite])))


def pair_mass(one: ak.Array, two: ak.Array) -> ak.Array:
    """(p1 + p2)^2 of two four-momenta whose own mass is small beside pt, so that E = |p| = pt cosh(eta)."""
    return np.sqrt(2 * one.pt * two.pt * (np.cosh(one.eta - two.eta) - np.cos(one.phi - two.phi)))


def draw(masses: npt.NDArray[np.float64], *, events: int) -> Figure:
    """A histogram of `masses` in GeV, found in so many `events`."""
    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    axes = figure.subplots()
    counts, edges = np.histogram(masses, bins=BINS, range=(LOWEST, HIGHEST))
    axes.stairs(counts, edges, fill=True, color=BLUE, alpha=0.2)
    axes.stairs(counts, edges, color=BLUE, linewidth=1.4)
    axes.set(yscale="log", xlim=(LOWEST, HIGHEST), ylim=(0.7, 4 * counts.max(initial=1)))
    axes.axvline(Z_MASS, color=GREY, linewidth=0.9, linestyle="--", zorder=0)
    axes.text(Z_MASS + 1, 0.97, "Z", transform=axes.get_xaxis_transform(), color=GREY, va="top")
    corner = f"{events:,} events\n{len(masses):,} pairs"
    axes.text(0.985, 0.97, corner, transform=axes.transAxes, ha="right", va="top")
    axes.set_title(r"$pp \to \gamma^{*}/Z \to \mu^{+}\mu^{-}$, 13.6 TeV, Pythia 8", loc="left", fontsize=12)
    axes.set_xlabel("mass of the muon pair [GeV]", loc="right")
    axes.set_ylabel(f"pairs per {(HIGHEST - LOWEST) / BINS:g} GeV", loc="top")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    """Command line: a folder of merged files, and the picture to make of them."""
    if len(sys.argv) != 3:
        raise SystemExit("usage: python plot.py FOLDER PICTURE.png")
    folder, picture = map(Path, sys.argv[1:])
    events, masses = read_masses(folder)
    picture.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"font.size": 11}):
        draw(masses, events=events).savefig(picture, dpi=160)


if __name__ == "__main__":
    main()
