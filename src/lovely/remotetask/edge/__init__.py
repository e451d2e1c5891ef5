"""The only doors out: transactions, our own and the caller's, time, and files.
"""
