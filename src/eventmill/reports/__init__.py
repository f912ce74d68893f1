"""Data about a campaign for people and programs: report, status, manifest, plots."""
