"""What ``@task`` makes of a function: its parameters, and how it adds jobs."""
