"""What a job's record is made of: moments, errors, runs and annotations."""
