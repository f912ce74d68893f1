"""The database of the ledger: tables, transactions, and what verbs share inside a transaction."""
