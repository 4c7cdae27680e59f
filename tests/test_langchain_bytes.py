"""LangChain's own suites for byte stores, on the blobs of every kind of home."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from langchain_tests.integration_tests.base_store import BaseStoreAsyncTests, BaseStoreSyncTests

from optimem import Memory
from optimem.errors import InputError
from optimem.integrations.langchain_bytes import SessionByteStore
from optimem.stores import new_key

VALUES = (b"foo", b"\x00bar", b"buzz " * 1000)


@pytest.fixture(params=["memory", "sqlite", "redis", "redis_cluster", "sealed_redis"])
def memory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Memory]:
    kind = request.param.removeprefix("sealed_")
    if kind == "memory":
        url = "memory://"
    elif kind == "sqlite":
        url = f"sqlite:///{tmp_path / 'memory.db'}"
    else:
        url = f"{request.getfixturevalue(f'{kind}_url')}?prefix={uuid.uuid4().hex}"
    with Memory.open(url, "42", key=new_key() if kind != request.param else "") as opened:
        opened.append({"role": "user", "content": "hello"})
        yield opened


class TestSync(BaseStoreSyncTests[bytes]):
    @pytest.fixture
    def kv_store(self, memory: Memory) -> SessionByteStore:
        return SessionByteStore(memory)

    @pytest.fixture
    def three_values(self) -> tuple[bytes, bytes, bytes]:
        return VALUES


@pytest.mark.anyio
class TestAsync(BaseStoreAsyncTests[bytes]):
    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.fixture
    def kv_store(self, memory: Memory) -> SessionByteStore:
        return SessionByteStore(memory)

    @pytest.fixture
    def three_values(self) -> tuple[bytes, bytes, bytes]:
        return VALUES


def test_images_of_the_session_are_no_keys(memory: Memory) -> None:
    memory.store.put_blob(memory.scope, "png/1", b"pixels")
    store = SessionByteStore(memory)
    store.mset([("png/1", b"mine")])
    assert list(store.yield_keys()) == ["png/1"]
    store.mdelete(["png/1"])
    assert memory.store.blob(memory.scope, "png/1") == b"pixels"


def test_a_session_without_turns_is_refused() -> None:
    with Memory.open("memory://", "42") as memory, pytest.raises(InputError, match="no turns yet"):
        SessionByteStore(memory)
