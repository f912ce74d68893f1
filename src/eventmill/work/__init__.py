"""What a worker does: one block, one merge, publishing. Uses the ledger, knows no cluster."""
