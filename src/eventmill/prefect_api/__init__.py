"""Everything that talks to a Prefect server: the run's own server, states, events, artifacts, credentials."""


def load_block(name: str) -> dict[str, object]:
    """The credentials in a Prefect block. Raises `AccessError` if there are none."""
    from eventmill.prefect_api.credentials import values_in_block  # imports Prefect, which takes seconds

    return values_in_block(name)
