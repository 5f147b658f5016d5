"""Demonstrates the main job on a local AWS of its own; every line shown is read from that AWS."""

from local.demo.command import main

__all__ = ["main"]
