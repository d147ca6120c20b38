"""`python -m toylib.page`: see `commands`."""

import sys

from .commands import main

sys.exit(main())
