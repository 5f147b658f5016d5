"""What can go wrong before there is a template."""


class PackagingError(Exception):
    """The asset could not be built; one line that says why."""
