"""Fixtures of administering."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.admin.desk import admin, administered
from tests.kit import House


@pytest.fixture
async def run(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[House]:
    """An instance that has admins."""
    async with administered(database_url, redis_url, tmp_path) as house:
        yield house


@pytest.fixture
async def owner(run: House) -> httpx.AsyncClient:
    """An owner, signed in."""
    return await admin(run)
