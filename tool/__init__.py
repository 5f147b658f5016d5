"""The command-line tool `hyperpod-remediation`: what a person sees of a deployed stack, and does with it."""

import sys
from pathlib import Path

# In a checkout the function's code is an import root, not a package: `lambda` is a keyword.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lambda"))
