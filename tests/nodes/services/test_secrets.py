"""Secrets: encrypted at rest, for their owner and their hosts only."""

from __future__ import annotations

import asyncio
import stat
import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from innkeeper.nodes.errors import ResourceError
from innkeeper.nodes.node import SecretRef, Secrets
from innkeeper.nodes.services.secrets import SecretStore, UserSecrets, load_or_create_key

KEY = b"k" * 43
CANARY = "sk-canary-1234567890"
API = "api.openai.com"


def store(tmp_path: Path, key: bytes = KEY) -> SecretStore:
    return SecretStore(tmp_path / "secrets", key)


def user(tmp_path: Path, name: str = "ann", environ: dict[str, str] | None = None, **more: object) -> UserSecrets:
    return UserSecrets(store(tmp_path), name, environ or {}, **more)  # type: ignore[arg-type]


async def refused(secrets: Secrets, ref: SecretRef, host: str | None = None) -> str:
    with pytest.raises(ResourceError) as caught:
        await secrets.reveal(ref, host)
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    return caught.value.code


async def test_secret_comes_back_to_its_owner(tmp_path: Path) -> None:
    ref = store(tmp_path).put(CANARY, "ann")
    assert await user(tmp_path).reveal(ref) == CANARY
    assert store(tmp_path).load(ref).hosts == ()
    assert await user(tmp_path).reveal(ref, "any.example") == CANARY
    assert CANARY not in ref.id


async def test_secret_without_hosts_is_bound_for_good_by_its_first_request(tmp_path: Path) -> None:
    ref = store(tmp_path).put(CANARY, "ann")
    assert await user(tmp_path).reveal(ref, "first.example:443") == CANARY
    for host in ("evil.example:443", "first.example:8443", None):
        assert await refused(user(tmp_path), ref, host) == "secret_refused"
    store(tmp_path).put(CANARY, "ann")
    assert await refused(user(tmp_path), ref, "evil.example:443") == "secret_refused"
    assert await user(tmp_path).reveal(ref, "FIRST.example.") == CANARY


async def test_of_many_first_requests_one_binds(tmp_path: Path) -> None:
    ref = store(tmp_path).put(CANARY, "ann")
    asked = (user(tmp_path).reveal(ref, f"h{number}.example") for number in range(8))
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert answers.count(CANARY) == 1
    assert len(store(tmp_path).load(ref).hosts) == 1


@pytest.mark.parametrize("host", ["", "a/b", "good.example\\@evil.example", "a.example:x"])
async def test_what_is_no_plain_host_binds_nothing(tmp_path: Path, host: str) -> None:
    ref = store(tmp_path).put(CANARY, "ann")
    assert await refused(user(tmp_path), ref, host) == "secret_refused"
    assert store(tmp_path).load(ref).hosts == ()


async def test_another_user_binds_nothing(tmp_path: Path) -> None:
    ref = store(tmp_path).put(CANARY, "ann")
    assert await refused(user(tmp_path, "bob"), ref, "evil.example") == "secret_not_found"
    assert store(tmp_path).load(ref).hosts == ()


def test_nothing_readable_is_on_disk(tmp_path: Path) -> None:
    ref = store(tmp_path).put(CANARY, "ann")
    file = tmp_path / "secrets" / ref.id
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert not any(CANARY.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert CANARY not in repr(store(tmp_path).load(ref))


async def test_other_user_learns_nothing_not_even_that_it_exists(tmp_path: Path) -> None:
    ref = store(tmp_path).put(CANARY, "ann")
    foreign, missing = user(tmp_path, "bob"), SecretRef("0" * 64)
    messages = set()
    for wanted in (ref, missing):
        with pytest.raises(ResourceError) as caught:
            await foreign.reveal(wanted)
        messages.add((caught.value.code, str(caught.value)))
    assert messages == {("secret_not_found", "the secret is not known; enter it anew")}


def test_same_value_of_one_owner_is_one_file_of_two_owners_two(tmp_path: Path) -> None:
    first, again, other = (store(tmp_path).put(CANARY, owner) for owner in ("ann", "ann", "bob"))
    assert first == again == store(tmp_path / "unused").ref_for(CANARY, "ann") != other
    assert not (tmp_path / "unused").exists()
    assert first.id != SecretStore(tmp_path / "x", b"q" * 43).put(CANARY, "ann").id
    # Owner and value are told apart: "an" + "nX" is not "ann" + "X".
    assert store(tmp_path).put("nX", "an") != store(tmp_path).put("X", "ann")


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("llm.example", True),
        ("LLM.example.", True),
        ("llm.example:443", True),
        ("other.example:8080", True),
        ("other.example", True),
        ("other.example:8081", False),
        ("evil.example", False),
        ("llm.example.evil.example", False),
        ("llm.example@evil.example", False),
        ("llm.example/", False),
        ("llm.example\\@evil.example", False),
        ("llm.example:x", False),
        ("", False),
        (None, False),
    ],
)
async def test_secret_with_hosts_goes_nowhere_else(tmp_path: Path, host: str | None, allowed: bool) -> None:
    ref = store(tmp_path).put(CANARY, "ann", ["llm.example", "other.example:8080"])
    if allowed:
        assert await user(tmp_path).reveal(ref, host) == CANARY
    else:
        assert await refused(user(tmp_path), ref, host) == "secret_refused"


async def test_hosts_of_one_value_add_up(tmp_path: Path) -> None:
    for host in ("a.example", "b.example"):
        ref = store(tmp_path).put(CANARY, "ann", [host])
    assert store(tmp_path).load(ref).hosts == ("a.example", "b.example")
    store(tmp_path).put(CANARY, "ann")
    # A key that has its hosts does not lose them where it is typed beside no address.
    assert store(tmp_path).load(ref).hosts == ("a.example", "b.example")


def test_hosts_added_at_the_same_moment_are_all_kept(tmp_path: Path) -> None:
    hosts = [f"h{number}.example" for number in range(12)]
    with ThreadPoolExecutor(6) as pool:
        refs = set(pool.map(lambda host: store(tmp_path).put(CANARY, "ann", [host]), hosts))
    assert len(refs) == 1
    assert set(store(tmp_path).load(refs.pop()).hosts) == set(hosts)


@pytest.mark.parametrize("name", ["", "../secret.key", ".lock", "a" * 63, "A" * 64, "a" * 64])
async def test_unknown_or_odd_reference_is_not_found(tmp_path: Path, name: str) -> None:
    store(tmp_path).put(CANARY, "ann")
    assert await refused(user(tmp_path), SecretRef(name)) == "secret_not_found"


async def test_changed_key_and_damaged_file_are_told(tmp_path: Path) -> None:
    ref = store(tmp_path).put(CANARY, "ann")
    other = UserSecrets(store(tmp_path, b"q" * 43), "ann", {})
    assert await refused(other, ref) == "secret_unreadable"
    (tmp_path / "secrets" / ref.id).write_bytes(b"rubbish")
    assert await refused(user(tmp_path), ref) == "secret_unreadable"
    assert store(tmp_path).put(CANARY, "ann") == ref
    assert await user(tmp_path).reveal(ref) == CANARY


async def test_long_empty_and_odd_values(tmp_path: Path) -> None:
    for value in ("", "x" * 64 * 1024, "键🔑\n", "\ud800"):
        assert await user(tmp_path).reveal(store(tmp_path).put(value, "ann")) == value
    with pytest.raises(ResourceError, match="limit of 65536") as caught:
        store(tmp_path).put("x" * (64 * 1024 + 1), "ann")
    assert caught.value.code == "secret_too_large"


# --- values of the operator's environment -------------------------------------------------------------------------

ENVIRON = {"OPENAI_API_KEY": CANARY, "AWS_SECRET": "never", "HOME": "/root"}


async def test_environment_key_goes_to_the_default_host_only(tmp_path: Path) -> None:
    secrets: Secrets = user(tmp_path, environ=ENVIRON)
    ref = secrets.from_environment("OPENAI_API_KEY")
    assert ref == SecretRef("env:OPENAI_API_KEY")
    assert await secrets.reveal(ref, API) == CANARY
    for host in ("evil.example", f"{API}.evil.example", f"{API}:8080", "127.0.0.1", None):
        assert await refused(secrets, ref, host) == "secret_refused"


@pytest.mark.parametrize(
    ("base", "good", "bad"),
    [
        ("https://llm.example/v1", ["llm.example", "llm.example:443"], [API, "llm.example:8443"]),
        ("http://127.0.0.1:1234/v1", ["127.0.0.1:1234", "127.0.0.1"], ["127.0.0.1:1235", "localhost:1234", API]),
        ("http://[::1]:1234/v1", ["[::1]:1234"], ["[::1]:1", "[::2]:1234"]),
        ("http://user:pass@llm.example/v1", ["llm.example"], ["user", "llm.example:443"]),
        ("not a url", [API], ["not"]),
        ("http://[broken", [API], ["broken"]),
        ("", [API], ["llm.example"]),
    ],
)
async def test_environment_key_goes_to_the_host_of_the_operators_base(
    tmp_path: Path, base: str, good: list[str], bad: list[str]
) -> None:
    secrets = user(tmp_path, environ={**ENVIRON, "OPENAI_API_BASE": base}, env_key_hosts=["extra.example"])
    ref = SecretRef("env:OPENAI_API_KEY")
    for host in (*good, "extra.example"):
        assert await secrets.reveal(ref, host) == CANARY
    for host in bad:
        assert await refused(secrets, ref, host) == "secret_refused"


async def test_only_offered_names_of_the_environment_exist(tmp_path: Path) -> None:
    secrets = user(tmp_path, environ={**ENVIRON, "OPENAI_API_BASE": "http://x/v1"})
    assert secrets.from_environment("AWS_SECRET") is None
    assert secrets.from_environment("OPENAI_API_BASE") is None
    assert await refused(secrets, SecretRef("env:AWS_SECRET"), API) == "secret_not_found"
    assert (secrets.setting("OPENAI_API_BASE"), secrets.setting("HOME")) == ("http://x/v1", None)
    assert secrets.setting("OPENAI_API_KEY") is None
    empty = user(tmp_path, environ={"OPENAI_API_KEY": "", "OPENAI_API_BASE": ""})
    assert (empty.from_environment("OPENAI_API_KEY"), empty.setting("OPENAI_API_BASE")) == (None, None)


# --- the key ------------------------------------------------------------------------------------------------------


def test_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    data = tmp_path / "data"
    key = load_or_create_key(data, {})
    assert len(key) >= 32
    assert load_or_create_key(data, {}) == key
    assert stat.S_IMODE((data / "secret.key").stat().st_mode) == 0o600
    assert [path.name for path in data.iterdir()] == ["secret.key"]
    assert load_or_create_key(tmp_path / "other", {}) != key


def test_environment_key_wins_and_writes_nothing(tmp_path: Path) -> None:
    assert load_or_create_key(tmp_path, {"INNKEEPER_SECRET_KEY": "e" * 40}) == b"e" * 40
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "short", "x" * 31 + "\n"])
def test_short_key_is_put_aside_or_refused_where_it_is_set(tmp_path: Path, text: str) -> None:
    (tmp_path / "secret.key").write_text(text)
    key = load_or_create_key(tmp_path, {})
    assert load_or_create_key(tmp_path, {}) == key
    (aside,) = tmp_path.glob("secret.key.damaged-*")
    assert aside.read_text() == text
    assert "A new key was made" in (tmp_path / "damage.log").read_text()
    if text:
        with pytest.raises(ResourceError, match="INNKEEPER_SECRET_KEY must hold") as caught:
            load_or_create_key(tmp_path, {"INNKEEPER_SECRET_KEY": text})
        assert text.strip() not in str(caught.value)


def test_processes_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from innkeeper.nodes.services.secrets import load_or_create_key;"
        "sys.stdin.readline(); print(load_or_create_key(Path(sys.argv[1]), {}).decode())"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "data")]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    try:
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        keys = {process.communicate(timeout=30)[0] for process in processes}
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert len(keys) == 1
    assert len(keys.pop().strip()) >= 32
