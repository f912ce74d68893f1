"""The ledger's verbs by subject. One verb is one transaction."""
