"""Tries a deployed stack out in its account, in a mode that reboots nothing: `python -m smoke`."""

import sys
from pathlib import Path

# The function's code is an import root, not a package: `lambda` is a keyword.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lambda"))
