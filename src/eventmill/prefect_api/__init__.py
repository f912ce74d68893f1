"""Everything that talks to a Prefect server: a run's own one, states, events, artifacts, buttons, credentials."""


def load_block(name: str) -> dict[str, object]:
    """The credentials in a Prefect block; `AccessError` says why there are none."""
    from eventmill.prefect_api.credentials import values_in_block  # imports Prefect: seconds, and only for this

    return values_in_block(name)
