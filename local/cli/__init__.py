"""Implements the commands of `python -m local`, which act on a running local AWS."""
