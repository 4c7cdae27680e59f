"""Encryption at rest: AES-256-GCM, under a key of its own for each namespace (HKDF).

The nonce is a keyed hash of place and content. So the same content at the same place gives
the same bytes, which compare-and-set and look-ups need, and tells no more than that it is
the same; a nonce never meets two contents (short of a collision of 96-bit hashes).
"""

from __future__ import annotations

import hmac
from collections.abc import Set

from optimem.errors import MissingExtraError, StoreError

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF
except ImportError:
    raise MissingExtraError("An encrypted store", "crypto") from None

_NONCE = 12  # bytes
_LABEL = 16  # bytes


class Sealed:
    """The cipher of a namespace (see `optimem.stores.cipher`).

    Args:
        secret: 32 bytes from which the keys of all namespaces are derived.
        namespace: whose values they are.
    """

    def __init__(self, secret: bytes, namespace: str) -> None:
        info = b"optimem 1 " + namespace.encode("utf-8", "surrogatepass")
        keys = HKDF(SHA256(), length=96, salt=None, info=info).derive(secret)
        self._aead = AESGCM(keys[:32])
        self._nonces, self._labels = keys[32:64], keys[64:]
        self.mark = self.label(b"mark")
        self.beside: Set[bytes] = frozenset()

    def seal(self, data: bytes, place: bytes) -> bytes:
        nonce = hmac.digest(self._nonces, b"%d:%s%s" % (len(place), place, data), "sha256")[:_NONCE]
        return nonce + self._aead.encrypt(nonce, data, place)

    def open(self, data: bytes, place: bytes) -> bytes:
        try:
            return self._aead.decrypt(data[:_NONCE], data[_NONCE:], place)
        except (InvalidTag, ValueError):
            what = place.decode("utf-8", "replace")
            raise StoreError(
                f"{what} in the store is damaged, or encrypted with another key"
            ) from None

    def label(self, name: bytes) -> bytes:
        return hmac.digest(self._labels, b"label " + name, "sha256")[:_LABEL]

    def digest(self, data: bytes) -> bytes:
        return hmac.digest(self._labels, b"digest " + data, "sha256")
