"""The event service: campaigns over HTTP. This room's views read the ledger, and change nothing."""
