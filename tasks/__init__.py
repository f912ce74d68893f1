"""Thin Prefect tasks over the engine's verbs. No decisions."""

from eventmill.access import look_up_with
from eventmill.logs import show_as_told
from eventmill.prefect_api import load_block
from eventmill.prefect_api.run_logs import log_to_prefect

# Whoever runs a task may be asked for credentials by the name that travelled with it.
look_up_with(load_block)

# Workers on this machine show log lines as the command does, and Prefect shows those of each task run.
show_as_told()
log_to_prefect()
