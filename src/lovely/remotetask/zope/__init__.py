"""How Zope finds a service, who acts in it, and as whom a job runs.

Nothing is imported here: see host.py and service.py.
"""
