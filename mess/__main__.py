"""`python -m mess`."""

import contextlib
import os
import sys

# Python puts the working directory first on the path; a file there must not shadow what MESS imports.
if not sys.flags.safe_path:
    with contextlib.suppress(OSError):  # the working directory was deleted
        if sys.path[0] in ("", os.getcwd()):
            del sys.path[0]

from mess.cli import main

if __name__ == "__main__":
    main()
