"""A library whose file is damaged: what stands on other pages is there, fits together, and what is lost is told."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import sqlite3
import zlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from innkeeper.gateway.container import Container, open_container
from innkeeper.gateway.library.documents import glance
from innkeeper.gateway.library.library import SaveOptions
from innkeeper.gateway.settings import Settings
from innkeeper.nodes.services.damaged import told_since
from tests.effort import LONG

Json = dict[str, Any]
USER = "default_user"
WORKFLOWS = 36
PAGE_BYTES = 4096
ROOTS = 18
"""Pages with the roots of tables and indexes, at the start of the file."""
PUBLISHED = dict.fromkeys(range(0, WORKFLOWS, 3), 2)


def document(identity: str, version: int) -> Json:
    """Some are larger than a page."""
    rng = random.Random(f"{identity}{version}")
    text = f"{identity} {version} " + rng.randbytes(9000 if identity.endswith("7") else 900).hex()
    return {
        "id": identity,
        "name": f"Named {identity}",
        "tags": [identity],
        "nodes": [{"id": "hi", "type": "core:CreateMessage", "inputValues": {"role": "user", "content": text}}],
        "edges": [],
    }


@contextlib.asynccontextmanager
async def gateway(data: Path) -> AsyncIterator[Container]:
    async with open_container(Settings(data_dir=data, temporal_address="127.0.0.1:9")) as container:
        yield container


@dataclass(frozen=True)
class Made:
    """A data directory with a library, closed in order."""

    data: Path
    versions: dict[tuple[str, int], Json]

    @property
    def pages(self) -> int:
        return (self.data / "gateway.db").stat().st_size // PAGE_BYTES


def identity_of(number: int) -> str:
    return f"flow{number:02}"


def project_of(number: int) -> str:
    return ("default", "Novel", "Game")[number % 3]


async def fill(data: Path) -> dict[tuple[str, int], Json]:
    versions: dict[tuple[str, int], Json] = {}
    async with gateway(data) as container:
        for name in ("Novel", "Game"):
            await container.projects.create(USER, {"name": name})
        for number in range(WORKFLOWS):
            identity = identity_of(number)
            saved = await container.library.create(document(identity, 1), USER, project_of(number))
            for version in range(2, 2 + number % 4):
                saved = await container.library.save(saved.row, document(identity, version))
            if PUBLISHED.get(number, 99) <= saved.row.version:
                await container.library.publish(saved.row, PUBLISHED[number])
            versions |= {(identity, version): document(identity, version) for version in range(1, 2 + number % 4)}
    with contextlib.closing(sqlite3.connect(data / "gateway.db")) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return versions


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    data = tmp_path_factory.mktemp("library") / "data"
    return Made(data, asyncio.run(fill(data)))


def overwritten(made: Made, target: Path, page: int, content: bytes) -> Path:
    shutil.copytree(made.data, target)
    with (target / "gateway.db").open("r+b") as file:
        file.seek(page * PAGE_BYTES)
        file.write(content)
    return target


async def stored(container: Container) -> dict[tuple[str, int], Json]:
    """All versions that can be read, in or outside of the bin."""
    found = {}
    for row in [*await container.library.live(USER), *await container.library.bin(USER)]:
        for version in await container.library.versions(row, None, 1000):
            data = (await container.lookup.version(row, version.version)).data
            found[row.id, version.version] = orjson.loads(data)
    return found


async def check_use(container: Container) -> None:
    """Every workflow that is listed is read, saved, published and run."""
    for row in await container.library.live(USER):
        newest = await container.lookup.version(row, "latest")
        assert newest.version.version == row.version
        assert glance(orjson.loads(newest.data), row.id).columns()["name"] == row.name
        assert (await container.projects.get(USER, row.project_id)).id == row.project_id
        if row.published is not None:
            assert (await container.lookup.version(row, "published")).version.version == row.published
        ask = {"workflowId": row.id, "projectId": row.project_id}
        assert (await container.admission.check(ask, USER)).source.version is not None
    rows = await container.library.live(USER)
    for row in rows[:: max(1, len(rows) // 4)]:
        before = row.version
        saved = await container.library.save(row, document(row.id, 99))
        assert saved.is_new
        assert saved.row.version == before + 1
        assert (await container.library.publish(saved.row, None)).published == before + 1
        checked = await container.admission.check({"workflowId": row.id, "projectId": row.project_id}, USER)
        assert checked.source.version == before + 1


def pages(made: Made) -> Iterator[int]:
    """The long form tries all pages; the short one some of the roots of tables and indexes, and of the others."""
    yield from (page for page in range(made.pages) if LONG or (page < ROOTS and page % 4 == 1) or page % 90 == 0)


async def test_whatever_page_is_overwritten_everything_else_is_there_and_in_use(made: Made, tmp_path: Path) -> None:
    rng = random.Random(7)
    lost_at_most = 0
    for page in pages(made):
        content = bytes(PAGE_BYTES) if page % 2 else rng.randbytes(PAGE_BYTES)
        data = overwritten(made, tmp_path / str(page), page, content)
        async with gateway(data) as container:
            found = await stored(container)
            lost = set(made.versions) - set(found)
            assert {key: made.versions[key] for key in found} == found, page
            told = " ".join(told_since(data, 0))
            # A page holds two versions, or parts of two and one on pages of its own.
            assert len(lost) <= 4, (page, lost)
            lost_at_most = max(lost_at_most, len(lost))
            for identity, _ in lost:
                assert f"'{identity}'" in told, (page, told)
            assert len(await container.library.live(USER)) >= WORKFLOWS - len(lost)
            assert {row.id for row in await container.projects.live(USER)} >= {"Novel", "Game"}
            homes = {row.id: row.project_id for row in await container.library.live(USER)}
            assert homes == {name: project_of(int(name[4:])) for name in homes}, page
            await check_use(container)
        shutil.rmtree(data)
    assert lost_at_most > 0


async def test_truncated_file_keeps_what_is_left_of_it(made: Made, tmp_path: Path) -> None:
    before = WORKFLOWS + 1
    for part in (0.9, 0.75, 0.6):
        data = tmp_path / str(part)
        shutil.copytree(made.data, data)
        with (data / "gateway.db").open("r+b") as file:
            file.truncate(int(made.pages * part) * PAGE_BYTES)
        async with gateway(data) as container:
            found = await stored(container)
            assert found == {key: made.versions[key] for key in found}
            assert 0 < len(found) < len(made.versions)
            count = len(await container.library.live(USER))
            assert count < before or count == WORKFLOWS
            before = count
            await check_use(container)
        assert "lost" in " ".join(told_since(data, 0))


# --- rows that contradict each other ---------------------------------------------------------------------------------


@pytest.fixture
def copy(made: Made, tmp_path: Path) -> Path:
    shutil.copytree(made.data, tmp_path / "data")
    return tmp_path / "data"


def change(data: Path, *queries: str) -> None:
    """Change rows, then make the file one that is rebuilt at the next start."""
    with contextlib.closing(sqlite3.connect(data / "gateway.db")) as db:
        for query in queries:
            db.execute(query)
        db.commit()
        (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name='ix_runs_sealed'").fetchone()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with (data / "gateway.db").open("r+b") as file:
        file.seek((page - 1) * PAGE_BYTES)
        file.write(bytes(range(256)))


def of(identity: str) -> str:
    return f"workflow=(SELECT number FROM workflows WHERE id='{identity}')"


async def test_newest_version_that_cannot_be_read_gives_way_to_the_one_before(copy: Path) -> None:
    identity = identity_of(3)
    change(copy, f"UPDATE workflow_versions SET document=x'00' WHERE version=4 AND {of(identity)}")
    async with gateway(copy) as container:
        row = await container.lookup.row(USER, identity)
        assert (row.version, row.published) == (3, 2)
        await check_use(container)
    assert f"lost are version 4 of '{identity}'" in " ".join(told_since(copy, 0))


async def test_json_that_is_no_object_counts_as_unreadable(copy: Path) -> None:
    identity = identity_of(3)
    with contextlib.closing(sqlite3.connect(copy / "gateway.db")) as db:
        query = f"UPDATE workflow_versions SET document=? WHERE version=2 AND {of(identity)}"
        db.execute(query, (zlib.compress(b'{"nodes": ['),))
        db.commit()
    change(copy)
    async with gateway(copy) as container:
        row = await container.lookup.row(USER, identity)
        assert (row.version, row.published) == (4, 1)
    told = " ".join(told_since(copy, 0))
    assert f"version 2 of '{identity}'" in told
    assert f"published is now version 1 of '{identity}'" in told


async def test_workflow_of_which_no_version_is_left_is_named_and_gone(copy: Path) -> None:
    change(copy, f"DELETE FROM workflow_versions WHERE {of(identity_of(5))}")
    async with gateway(copy) as container:
        assert len(await container.library.live(USER)) == WORKFLOWS - 1
    assert f"lost is the workflow '{identity_of(5)}'" in " ".join(told_since(copy, 0))


async def test_workflow_without_its_row_and_index_comes_back_in_default_under_a_free_id(copy: Path) -> None:
    first, second = identity_of(2), identity_of(6)
    changed = document(second, 1)
    async with gateway(copy) as container:
        row = await container.lookup.row(USER, first, project_of(2))
        await container.library.save(row, {**changed, "id": first})
    # Both say in their documents that they are the first one.
    change(
        copy,
        f"UPDATE workflow_versions SET workflow=900 WHERE {of(first)}",
        f"DELETE FROM workflows WHERE id='{first}'",
        f"UPDATE workflows SET id='{first}' WHERE id='{second}'",
    )
    async with gateway(copy) as container:
        rows = {row.id: row for row in await container.library.live(USER) if row.id.startswith(first)}
        assert set(rows) == {first, f"{first}-2"}
        remade = rows[f"{first}-2"]
        assert (remade.project_id, remade.version, remade.published) == ("default", 4, None)
        for version in range(1, 5):
            data = (await container.lookup.version(remade, version)).data
            assert orjson.loads(data)["id"] == f"{first}-2"
        await check_use(container)
    told = " ".join(told_since(copy, 0))
    assert f"made anew from the newest version is the workflow '{first}'" in told
    assert f"'{first}' as '{first}-2'" in told


async def test_workflow_in_the_bin_stays_there_and_its_project_is_there_to_come_back_to(copy: Path) -> None:
    identity = identity_of(4)
    async with gateway(copy) as container:
        await container.library.delete(await container.lookup.row(USER, identity, project_of(4)))
        await container.library.create(document(identity, 1), USER, project_of(4), SaveOptions(unique_name=False))
    change(copy, "DELETE FROM projects")
    async with gateway(copy) as container:
        assert [row.id for row in await container.library.bin(USER)] == [identity]
        assert {row.id for row in await container.projects.live(USER)} == {"default", "Novel", "Game"}
        await check_use(container)


async def test_broadcast_in_delivery_is_kept(copy: Path) -> None:
    values = "('b', 'u', 'tick', x'7b7d', '[\"r\"]', 'missed', 5, 'k', 'h', '{}')"
    change(copy, f"INSERT INTO broadcasts VALUES{values}")
    async with gateway(copy) as container:
        row = await container.external_events._broadcasts.by_key("u", "k")
        assert row is not None
        assert (row.name, row.data, row.runs) == ("tick", b"{}", '["r"]')
