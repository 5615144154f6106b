"""Places as a person reads them."""

from pathlib import Path


def shown(path: Path) -> str:
    """A path for the eye: `~/…` inside the home directory, as a shell takes it too; else whole."""
    try:
        return f"~/{path.relative_to(Path.home())}"
    except (ValueError, RuntimeError):  # elsewhere, or nobody's home is known
        return str(path)
