"""Thin Prefect tasks over the engine's verbs. No decisions."""

from eventmill.access import look_up_with
from eventmill.prefect_api import load_block

# Whoever runs a task may be asked for credentials by the name that travelled with it.
look_up_with(load_block)
