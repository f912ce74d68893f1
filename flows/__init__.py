"""Prefect flows: order and concurrency, nothing else."""
