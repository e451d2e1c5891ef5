"""How the processes of one database know of each other.

``liveness`` answers which workers still live, ``wakeup`` tells processors
that there is new work.  A wrong answer costs time, never correctness.
"""
