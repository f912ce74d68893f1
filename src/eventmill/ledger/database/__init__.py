"""Where the ledger's rows lie: tables, transactions, and what verbs share inside a transaction."""
