"""The only doors out: the transactions we begin, the caller's, and time."""
