"""A pilot: works on blocks that an event service gives it, on any host that reaches the service.

It knows no database, no Prefect and no Dask, and is a distribution of its own, too (`deployments/pilot`).
"""
