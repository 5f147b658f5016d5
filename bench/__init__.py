"""Measures the function against a naive build of it: `make bench`."""

import sys
from pathlib import Path

# lambda/ is an import root: the bench takes the product's constants and its ledger's codec from it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lambda"))
