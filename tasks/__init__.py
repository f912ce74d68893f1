"""Thin Prefect tasks over the engine's verbs. No decisions."""

from eventmill.access import look_up_with


def load_block(name: str) -> dict[str, object]:
    """The credentials in a Prefect block; `AccessError` says why there are none."""
    from eventmill.tasks.credentials import values_in_block  # imports Prefect: seconds, and only for this

    return values_in_block(name)


# Whoever runs a task may be asked for credentials by the name that travelled with it.
look_up_with(load_block)
