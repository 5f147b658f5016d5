"""The naive build's code; shipped in its asset, never imported here."""
