"""Pure decisions: values in, values out. No clock, no files, no ledger."""
