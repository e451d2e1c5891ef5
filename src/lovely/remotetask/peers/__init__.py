"""How the processes of one database know of each other.

Who lives, and what is new; a wrong answer costs time, never correctness.
"""
