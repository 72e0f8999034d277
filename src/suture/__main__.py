"""`python -m suture`: the same as the `suture` command."""

from __future__ import annotations

import sys

from suture.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
