"""Who may use the web app: a browser that came by a link we gave out, on a page that we served.

A link carries a token that works once. For it the browser gets a signed cookie, which lasts for half a day and, as long as the port is the same,
over restarts, so that a page comes back by itself after the server was killed. The token is in the part of the address after "#", which
browsers send to nobody, so that it is in no log.

Beside that, what changes anything is only taken from pages of our own (Origin), and nothing is answered under a name that is not
ours (Host): a page of somebody else that is open in the same browser gets nowhere, whatever its name resolves to.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from mimicctl.errors import UserError

SESSION_SECONDS = 12 * 3600
_MOST_LINKS = 32
"""Links that are out and not used; the oldest of more are void."""


class Access:
    """
    Args:
        hosts: names and addresses that the server is reached by, without port.
        secret: what cookies are signed with.
    """

    def __init__(self, hosts: Iterable[str], port: int, *, secure: bool, secret: bytes) -> None:
        scheme = "https" if secure else "http"
        usual = 443 if secure else 80
        self.hosts = {f"{_bracketed(host)}:{port}" for host in hosts} | ({_bracketed(host) for host in hosts} if port == usual else set())
        self.origins = {f"{scheme}://{host}" for host in self.hosts}
        self.cookie = f"mimicctl_{port}"
        self.secure = secure
        self._secret = secret
        self._links: list[str] = []
        self._lock = threading.Lock()

    def new_token(self) -> str:
        """For one link."""
        token = secrets.token_urlsafe(16)
        with self._lock:
            self._links = [*self._links[-_MOST_LINKS + 1 :], token]
        return token

    def redeem(self, token: str) -> str | None:
        """The value of a cookie for a token, which is used up by it; None for a token that is not, or no longer, good."""
        with self._lock:
            found = next((link for link in self._links if secrets.compare_digest(link.encode(), token.encode())), None)
            if found is None:
                return None
            self._links.remove(found)
        return self._signed(int(time.time()) + SESSION_SECONDS, secrets.token_urlsafe(8))

    def admits(self, cookie: str) -> bool:
        """Whether we gave out a cookie of this value, and not too long ago."""
        until, _, rest = cookie.partition(".")
        name = rest.partition(".")[0]
        if not until.isascii() or not until.isdigit() or len(until) > 12 or int(until) < time.time():
            return False
        return hmac.compare_digest(self._signed(int(until), name).encode(), cookie.encode())

    def _signed(self, until: int, name: str) -> str:
        """The cookie's own name is signed too: it says for which port it is good."""
        said = f"{until}.{name}"
        return f"{said}.{hmac.new(self._secret, f'{self.cookie} {said}'.encode(), hashlib.sha256).hexdigest()}"


def stored_secret(folder: Path) -> bytes:
    """What this user's cookies are signed with, made at first use; nobody else may read it.

    Raises:
        UserError: it can be neither read nor written.
    """
    path = folder / "web-secret"
    try:
        with contextlib.suppress(FileNotFoundError):
            if len(secret := path.read_bytes()) == 32:
                return secret
            path.unlink()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileExistsError), os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"Cannot keep the web app's secret: {error.strerror}.", where=str(path), do="make that folder writable") from None


def state_folder() -> Path:
    """Where mimicctl keeps what belongs to this user and machine."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "mimicctl"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
