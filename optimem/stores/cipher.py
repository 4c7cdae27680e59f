"""What stands between a store's values and the bytes that it keeps: nothing, or encryption.

A store asks for the cipher of a namespace and passes everything through it: values that are
read back are sealed, names that are only looked up become labels.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Callable, Set
from copy import copy
from functools import lru_cache
from typing import Protocol

from optimem.errors import StoreError

_KEY_SIZE = 32  # bytes


class Cipher(Protocol):
    """How the values of one namespace are kept. The same input always gives the same bytes."""

    mark: bytes
    """Tells keys apart, without telling what they are; empty without encryption."""

    beside: Set[bytes]
    """Marks of keys that sessions of the namespace may have meanwhile, while they are moved."""

    def seal(self, data: bytes, place: bytes) -> bytes:
        """Bytes to keep at a place; they can be opened there alone."""
        ...

    def open(self, data: bytes, place: bytes) -> bytes:
        """The inverse of `seal`; raises StoreError on anything else."""
        ...

    def label(self, name: bytes) -> bytes:
        """A name to look something up by, which need not be read back."""
        ...

    def digest(self, data: bytes) -> bytes:
        """Tells contents apart; 32 bytes."""
        ...


class Plain:
    """No encryption."""

    mark = b""

    def __init__(self, beside: Set[bytes] = frozenset()) -> None:
        self.beside = beside

    def seal(self, data: bytes, place: bytes) -> bytes:
        return data

    def open(self, data: bytes, place: bytes) -> bytes:
        return data

    def label(self, name: bytes) -> bytes:
        return name

    def digest(self, data: bytes) -> bytes:
        return hashlib.sha256(data).digest()


Ciphers = Callable[[str], Cipher]
"""The cipher of each namespace."""

_PLAIN = Plain()


def plain(namespace: str) -> Cipher:
    """No encryption, for every namespace."""
    return _PLAIN


def ciphers(key: str | bytes | None) -> Ciphers:
    """The ciphers of a key; `$OPTIMEM_KEY` where None is given, no encryption where "" is.

    Raises:
        StoreError: the key is no key.
        MissingExtraError: `cryptography` is not installed.
    """
    key = os.environ.get("OPTIMEM_KEY", "") if key is None else key
    if not key:
        return plain
    from optimem.stores.crypto import Sealed

    secret = _read_key(key)
    return lru_cache(maxsize=1024)(lambda namespace: Sealed(secret, namespace))


def both_ciphers(old: str | bytes, new: str | bytes) -> tuple[Ciphers, Ciphers]:
    """The ciphers of two keys that a home has while its sessions move from one to the other."""
    if ciphers(old)("").mark == ciphers(new)("").mark:
        raise StoreError("the new key is the one that sessions have already: name another")
    return _beside(ciphers(old), ciphers(new)), _beside(ciphers(new), ciphers(old))


def _beside(own: Ciphers, others: Ciphers) -> Ciphers:
    def cipher(namespace: str) -> Cipher:
        found = copy(own(namespace))
        found.beside = frozenset((others(namespace).mark,))
        return found

    return lru_cache(maxsize=1024)(cipher)


def new_key() -> str:
    """A fresh key as text."""
    return base64.urlsafe_b64encode(os.urandom(_KEY_SIZE)).decode()


def check_marks(namespace: str, cipher: Cipher, marks: Set[bytes], has_plain: bool) -> None:
    """Refuse to begin a session beside those that another key, or none, keeps from view.

    Args:
        namespace: whose sessions they are.
        cipher: how a session would be kept now.
        marks: of the keys in use.
        has_plain: whether some sessions there are not encrypted.
    """
    if cipher.beside & (marks | {b""}):
        return
    if cipher.mark and not marks and has_plain:
        raise StoreError(
            f"namespace {namespace!r} is not encrypted: open it without a key, or move it to an"
            " encrypted store (optimem export and import)"
        )
    if marks and cipher.mark not in marks:
        which = "with another key than this" if cipher.mark else "and no key is given"
        raise StoreError(
            f"namespace {namespace!r} is encrypted {which}: set OPTIMEM_KEY to its key"
        )


def _read_key(key: str | bytes) -> bytes:
    secret = key
    if isinstance(key, str):
        with_dashes = key.strip().replace("+", "-").replace("/", "_")
        try:
            secret = base64.b64decode(with_dashes, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            secret = b""
    if not isinstance(secret, bytes) or len(secret) != _KEY_SIZE:
        raise StoreError(
            f"an encryption key is {_KEY_SIZE} random bytes, in Base64 where it is text:"
            " python -c 'from optimem.stores import new_key; print(new_key())'"
        )
    return secret
