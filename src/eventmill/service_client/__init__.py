"""The side of a pilot: an event service as a ledger, a store and a place of inputs, over HTTP alone."""
