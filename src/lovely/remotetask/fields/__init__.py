"""What a job's record is made of: its moments, errors and latest runs."""
