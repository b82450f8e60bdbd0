"""Whether an optional package is there."""

from importlib.util import find_spec


def installed(package: str) -> bool:
    """Whether a package can be imported; nothing is imported to find out."""
    try:
        return find_spec(package) is not None
    except ValueError:  # the package was put into sys.modules by hand, as None or without a description
        return False
