"""Prefect tasks: thin wrappers of engine functions, without decisions."""

from eventmill.access import look_up_with
from eventmill.prefect_api import load_block

# A worker that runs a task looks up credentials by the name in its work order.
look_up_with(load_block)
