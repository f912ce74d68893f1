"""The version of Eventmill."""

VERSION = "0.1.0"
