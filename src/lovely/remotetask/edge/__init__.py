"""The only doors out: transactions, time, and files that are private."""
