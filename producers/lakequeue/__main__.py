"""`python -m lakequeue` is the command `lakequeue`."""

import sys

from lakequeue.cli import main

sys.exit(main())
