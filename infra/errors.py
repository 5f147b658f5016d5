"""Defines what can fail before there is a template."""


class ContextError(Exception):
    """Reports, in one line, a context key that looks like a misspelt setting."""


class PackagingError(Exception):
    """Reports, in one line, why the asset could not be built."""
