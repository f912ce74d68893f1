"""Prefect tasks: thin wrappers of engine functions, without decisions."""

from eventmill.access import look_up_with
from eventmill.logs import show_as_told
from eventmill.prefect_api import load_block
from eventmill.prefect_api.run_logs import log_to_prefect

# A worker that runs a task looks up credentials by the name in its work order.
look_up_with(load_block)

# Workers on this machine show log lines as the command does, and Prefect shows those of each task run.
show_as_told()
log_to_prefect()
