"""How Zope finds a service, who acts in it, and as whom a job runs.

The package imports none of its modules, because inputs.py has to be loaded
where Zope is not installed.
"""
