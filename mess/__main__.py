"""`python -m mess`."""

import contextlib
import os
import sys

# Python puts the working directory first, and a file there must not stand in front of what MESS itself imports.
if not sys.flags.safe_path:
    with contextlib.suppress(OSError):  # a working directory that has been deleted
        if sys.path[0] in ("", os.getcwd()):
            del sys.path[0]

from mess.cli import main

if __name__ == "__main__":
    main()
