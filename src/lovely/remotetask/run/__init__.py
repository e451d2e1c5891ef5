"""Claims jobs and brings each run to exactly one end."""
