"""Measures the function against a naive build of it: `make bench`."""

import sys
from pathlib import Path

# lambda/ is an import root: packaging reads what the function needs of the SDK.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lambda"))
