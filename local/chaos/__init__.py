"""Random complaints, cures, duplicates and faults on a local AWS; then counts, from outside, what must hold."""
