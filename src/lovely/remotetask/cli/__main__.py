"""Lets ``python -m lovely.remotetask.cli`` do the same as ``remotetask``."""

import sys

from lovely.remotetask.cli import main

if __name__ == '__main__':
    sys.exit(main())
