"""A self-made certificate, so that a headset or phone on the same network gets the secure page that WebXR and the gamepad API insist on."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path

import trustme
from cryptography import x509

from mimicctl.errors import UserError

_DAYS = 365
"""Browsers of some makers refuse certificates that are good for longer than 398."""


def lan_addresses() -> list[str]:
    """IPv4 addresses of this machine that others on its networks can reach, the one that the default route uses first."""
    found = []
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Connecting a datagram socket sends nothing; it only chooses the address that would be used.
        probe.connect(("192.0.2.1", 9))
        found.append(probe.getsockname()[0])
    with contextlib.suppress(OSError):
        found += [info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    return [address for address in dict.fromkeys(found) if not ipaddress.ip_address(address).is_loopback]


def server_context(hosts: Sequence[str], folder: Path) -> ssl.SSLContext:
    """TLS for a server that is reached by `hosts`. The certificate is kept in `folder`, so that a browser that was told to trust it goes on doing so.

    Raises:
        UserError: the folder cannot be written.
    """
    path = folder / "web-certificate.pem"
    if not _still_good(path, hosts):
        _make(path, hosts)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(path)
    return context


def _still_good(path: Path, hosts: Sequence[str]) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return False
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    known = {str(name.value) for name in names}
    left = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    return left > datetime.timedelta(days=1) and known >= set(hosts)


def _make(path: Path, hosts: Sequence[str]) -> None:
    until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=_DAYS)
    issued = trustme.CA(organization_name="mimicctl, made on this machine").issue_cert(*hosts, not_after=until)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            # The certificate first: it is what `_still_good` reads.
            file.write(b"".join(blob.bytes() for blob in issued.cert_chain_pems) + issued.private_key_pem.bytes())
        partial.replace(path)
    except OSError as error:
        raise UserError(f"Cannot keep the certificate: {error.strerror}.", where=str(path), do="make that folder writable") from None
