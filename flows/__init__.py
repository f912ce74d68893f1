"""The Prefect flows: only order and concurrency."""
