"""``python -m tests.model``: see ``long``."""

import sys

from tests.model.long import main

if __name__ == "__main__":
    sys.exit(main())
