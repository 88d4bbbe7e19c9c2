"""The local web app: teleoperation, demonstrations, annotation."""

from __future__ import annotations

from mimicctl.errors import UserError


def require_packages() -> None:
    """
    Raises:
        UserError: a package that the web app needs is not installed.
    """
    try:
        import aiohttp  # noqa: F401  to see that it is there
        import segno  # noqa: F401  the same
        import trustme  # noqa: F401  the same
    except ImportError as error:
        raise UserError(f"The web app needs a package that is not installed: {error.name}.", do='pip install "mimicctl[web]"') from None
