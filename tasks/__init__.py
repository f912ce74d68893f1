"""Thin Prefect tasks over the engine's verbs. No decisions."""
