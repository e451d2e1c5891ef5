"""What is in the database, and how a job moves in it.

No transaction begins or ends here, and no task runs.
"""
