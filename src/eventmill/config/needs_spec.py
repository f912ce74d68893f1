"""What the payload needs of the place where it runs: software, and, of pilots, resources."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from eventmill.config.lock_file import all_of, as_pin
from eventmill.config.parts import Part, Place
from eventmill.config.quantities import Size, at_least_bytes
from eventmill.core import environment as values

Site = Annotated[str, Field(min_length=1, max_length=64)]


class Environment(Part):
    """Software that must be there before a worker or pilot takes work. Eventmill installs none of it."""

    PLAIN: ClassVar[str | None] = "packages"
    PLAIN_TYPES: ClassVar[tuple[type, ...]] = (str, Path, list, tuple)

    packages: Place | list[str] | None = Field(
        None,
        description=(
            "A lock file (requirements with name==version, or pylock.toml) whose packages must be installed in "
            "these versions; or a list of such pins. Its content is kept, not its path."
        ),
    )
    path: Place | None = Field(
        None, description="A file or folder that must exist, such as /cvmfs/sft.cern.ch/lcg/views/LCG_105."
    )
    image: str | None = Field(
        None,
        min_length=1,
        max_length=1000,
        description=(
            "The container image in which the worker or pilot must run, as EVENTMILL_IMAGE or Apptainer names it."
        ),
    )

    @field_validator("packages", mode="after")
    @classmethod
    def _pins(cls, value: str | list[str] | None) -> str | list[str] | None:
        return all_of(map(as_pin, value)) if isinstance(value, list) else value

    @field_validator("path", mode="after")
    @classmethod
    def _absolute(cls, value: str | None) -> str | None:
        if value is not None and not PurePosixPath(value).is_absolute():
            raise ValueError(f"'{value}' would be another place on each host; give an absolute path")
        return value

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not (self.packages or self.path or self.image):
            raise ValueError("give 'packages', 'path' or 'image'")
        return self

    @property
    def asked(self) -> values.Environment:
        """What is asked for. Its lock file must have been read."""
        assert not isinstance(self.packages, str)
        return values.Environment(tuple(self.packages or ()), self.path, self.image)


class Needs(Part):
    """What each slot of a pilot must have. Workers of a cluster are what the cluster file makes them."""

    gpus: float | None = Field(
        None,
        gt=0,
        le=1000,
        description="GPUs for each slot of a pilot, such as 1; 0.25 if four slots may share one.",
    )
    cores: int | None = Field(None, ge=1, le=1_000_000, description="Cores for each slot of a pilot.")
    memory: Annotated[Size, at_least_bytes(10**7, unit="GB")] | None = Field(
        None, description="Memory for each slot of a pilot, as limits.memory, but nothing ends what takes more."
    )
    sites: list[Site] | None = Field(
        None, min_length=1, description="Only pilots of these sites get work, as their option --site says."
    )
    excluded_sites: list[Site] | None = Field(None, min_length=1, description="Pilots of these sites get no work.")

    @field_validator("sites", "excluded_sites", mode="before")
    @classmethod
    def _a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @property
    def asked(self) -> values.Needs:
        """What is asked for."""
        return values.Needs(
            gpus=self.gpus or 0.0,
            cores=self.cores,
            memory_bytes=self.memory,
            sites=tuple(self.sites or ()),
            excluded_sites=tuple(self.excluded_sites or ()),
        )
