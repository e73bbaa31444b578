"""`python -m cinderbank`."""

import sys

from cinderbank.cli import main

if __name__ == "__main__":
    sys.exit(main())
