"""The commands of `python -m local`: an operator's hands on a running local AWS."""
