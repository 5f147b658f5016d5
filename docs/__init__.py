"""The documents, and `make docs`, which writes those that are made from the code."""

import sys
from pathlib import Path

# lambda/ is an import root: the pages are made from the function's settings.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lambda"))
