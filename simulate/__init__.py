"""Plays captured events through the function's own code offline, with a clock that follows the events' times."""

import sys
from pathlib import Path

# lambda/ is an import root: what is played is the function itself.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lambda"))
