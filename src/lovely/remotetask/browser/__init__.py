"""The pages of 0.5.2 in the ZTK, by their own names: ``jobs.html`` and others.

They stand in the frame of the dashboard, and answer by what it answers by.
Their path is that of 0.5.2, so that ``include`` and ``exclude`` of an
application's ZCML find them.
"""
