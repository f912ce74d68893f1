"""What a worker does: one block, one merge, publishing. Speaks to the ledger, knows no cluster."""
