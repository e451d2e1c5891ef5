"""The only doors out: transactions, time, the log, and private files."""
