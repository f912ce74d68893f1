"""`eventmill init`: writes an example campaign into the working directory, for whoever has no clone."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import typer

from eventmill.cli.output import screen
from eventmill.core.meant import did_you_mean
from eventmill.core.units import counted
from eventmill.errors import CampaignError

PACKAGE = "eventmill.examples"
FOLDER = Path("examples")
"""Where the files come from, and where they go: their campaigns name each other by this folder."""

EXAMPLES = {
    "stars": (
        "bright stars of two telescopes, in CSV files that it makes; needs nothing else",
        ("stars",),
        (
            "python examples/stars/make_stars.py",
            "eventmill validate examples/stars/campaign.yaml",
            "eventmill run examples/stars/campaign.yaml",
        ),
    ),
    "dimuon": (
        "collisions from Pythia 8, then a Z selection; needs pip install 'eventmill[examples]'",
        ("dimuon", "dimuon-analysis"),
        (
            "eventmill validate examples/dimuon/campaign.yaml",
            "python examples/dimuon/kill_one_worker.py examples/dimuon/campaign.yaml",
            "eventmill run examples/dimuon-analysis/campaign.yaml",
            "python examples/dimuon/plot.py demo/dimuon demo/dimuon-mass.png",
        ),
    ),
}
"""Name -> what it is, its folders, the commands that come next."""


def init(
    example: Annotated[
        str | None, typer.Argument(help=f"One of: {', '.join(EXAMPLES)}.", show_default=False)
    ] = None,
) -> None:
    """Write an example campaign into ./examples, or list the examples. Overwrites nothing."""
    out = screen()
    if example is None:
        for name, (about, _, _) in EXAMPLES.items():
            out.print(f"eventmill init {name:8} {about}", soft_wrap=True, markup=False)
        return
    if example not in EXAMPLES:
        meant = did_you_mean(example, EXAMPLES)
        raise CampaignError(f"'{example}' is not an example{meant}; choose one of: {', '.join(EXAMPLES)}.")
    _, folders, commands = EXAMPLES[example]
    found = {path: source.read_bytes() for folder in folders for path, source in _files(folder)}
    different = [path for path, content in found.items() if path.exists() and _content(path) != content]
    if different:
        raise CampaignError(
            f"{different[0]} exists and differs from the example"
            + (f", and so do {len(different) - 1} more" if len(different) > 1 else "")
            + ". Nothing was written: move it away, or work in another folder."
        )
    for path, content in found.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            raise CampaignError(f"{path} cannot be written: {error.strerror}.") from None
    out.print(f"wrote {counted(len(found), 'file')} into {FOLDER}. Next:", markup=False)
    for command in commands:
        out.print(f"    {command}", soft_wrap=True, markup=False)


def _files(folder: str) -> Iterator[tuple[Path, Traversable]]:
    for source in sorted(files(PACKAGE).joinpath(folder).iterdir(), key=lambda item: item.name):
        if source.is_file() and Path(source.name).suffix in (".py", ".yaml", ".json"):
            yield FOLDER / folder / source.name, source


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:  # a folder, or not ours to read: different in any case
        return None
