"""What records are made of: moments, errors, runs, limits and annotations."""
