"""How a ZTK application finds a service, who acts in it, as whom a job runs.

Loaded by ZCML where zope.app is and Zope is not.
"""
