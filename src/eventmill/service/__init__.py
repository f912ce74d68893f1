"""The event service: a ledger's blocks over HTTP, for pilots anywhere, and a page to watch campaigns."""
