"""The channels of a worker: the file is read again when it changes, and keys go to their own server only."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from innkeeper.nodes.errors import ProviderError, RequestRefused, ResourceError
from innkeeper.nodes.node import ModelWish, Route, SecretRef
from innkeeper.nodes.services.channel_book import ChannelBook, VouchedHosts, read_channel_file
from innkeeper.nodes.services.channels import UserChannel, UserModel
from innkeeper.nodes.services.http import AddressPolicy
from innkeeper.nodes.services.secrets import SecretStore
from innkeeper.nodes.services.user_channels import UserEntries

WISH = ModelWish("m")


@pytest.fixture
def store(tmp_path: Path) -> SecretStore:
    return SecretStore(tmp_path / "secrets", b"k" * 32)


def book(folder: Path, store: SecretStore, text: str | None = None, **environ: str) -> ChannelBook:
    if text is not None:
        write(folder, text)
    return ChannelBook(folder, store, environ)


def write(folder: Path, text: str) -> None:
    (folder / "channels.yaml").write_text(text)


def one(key: str = "", host: str = "http://10.1.2.3:8000") -> str:
    return f"channels:\n- id: main\n  baseUrl: {host}/v1\n  apiKey: {key}\n"


async def test_without_a_file_there_is_no_channel(tmp_path: Path, store: SecretStore) -> None:
    with pytest.raises(ProviderError, match="channels: none"):
        await book(tmp_path, store).routes(WISH)


async def test_the_file_is_read_again_when_it_changes(tmp_path: Path, store: SecretStore) -> None:
    found = book(tmp_path, store, one())
    assert await found.routes(WISH) == (Route("main", "m", "http://10.1.2.3:8000/v1"),)
    write(tmp_path, "channels: [")
    with pytest.raises(ProviderError, match=r"channels\.yaml cannot be used: .*innkeeper channels") as caught:
        await found.routes(WISH)
    assert caught.value.code == "not_found_error"
    write(tmp_path, one(host="http://other"))
    assert (await found.routes(WISH))[0].base_url == "http://other/v1"
    (tmp_path / "channels.yaml").unlink()
    with pytest.raises(ProviderError, match="channels: none"):
        await found.routes(WISH)


async def test_a_key_of_the_environment_goes_to_its_channel_only(tmp_path: Path, store: SecretStore) -> None:
    found = book(tmp_path, store, one("env:ANY_API_KEY"), ANY_API_KEY="sk-1")
    ref = (await found.routes(WISH))[0].api_key
    assert ref is not None
    assert found.is_key(ref)
    assert await found.reveal(ref, "10.1.2.3:8000") == "sk-1"
    for host in ("10.1.2.3:80", "evil.com:8000", None):
        with pytest.raises(ResourceError) as caught:
            await found.reveal(ref, host)
        assert caught.value.code == "secret_refused"


@pytest.mark.parametrize(
    ("name", "allowed", "is_told"),
    [
        ("DEEPSEEK_API_KEY", "", True),
        ("AWS_SECRET_ACCESS_KEY", "", False),
        ("GITHUB_TOKEN", "", False),
        ("HOME", "", False),
        ("INNKEEPER_API_KEY", "", False),
        ("TEMPORAL_API_KEY", "", False),
        ("TEMPORAL_API_KEY", "*", False),
        ("HOUSE_TOKEN", "HOUSE_*, OTHER", True),
        ("OTHER", "HOUSE_*, OTHER", True),
        ("DEEPSEEK_API_KEY", "HOUSE_*", False),
        ("INNKEEPER_SECRET_KEY", "*", False),
    ],
)
async def test_only_offered_variables_are_keys(
    tmp_path: Path, store: SecretStore, name: str, allowed: str, is_told: bool
) -> None:
    found = book(tmp_path, store, one(f"env:{name}"), INNKEEPER_CHANNEL_ENV=allowed, **{name: "canary"})
    ref = (await found.routes(WISH))[0].api_key
    assert ref is not None
    if is_told:
        assert await found.reveal(ref, "10.1.2.3:8000") == "canary"
        return
    with pytest.raises(ResourceError, match=f"{name} may not be the key .* INNKEEPER_CHANNEL_ENV") as caught:
        await found.reveal(ref, "10.1.2.3:8000")
    assert caught.value.code == "secret_refused"
    assert "canary" not in caught.value.message


async def test_nobody_can_spell_the_reference_of_a_key(tmp_path: Path, store: SecretStore) -> None:
    found = book(tmp_path, store, one("env:ANY_API_KEY"), ANY_API_KEY="sk-1")
    await found.routes(WISH)
    for name in ("channel:main", "channel::main", "env:ANY_API_KEY"):
        with pytest.raises(ResourceError) as caught:
            await found.reveal(SecretRef(name), "10.1.2.3:8000")
        assert caught.value.code == "secret_not_found"


async def test_a_stored_key_serves_whoever_owns_it_but_only_its_hosts(tmp_path: Path, store: SecretStore) -> None:
    free, bound = store.put("sk-2", "operator"), store.put("sk-3", "operator", ["elsewhere.com"])
    found = book(tmp_path, store, one(f"{{$secret: {free.id}}}"))
    ref = (await found.routes(WISH))[0].api_key
    assert ref is not None
    assert await found.reveal(ref, "10.1.2.3:8000") == "sk-2"
    assert store.load(free).hosts == ("10.1.2.3:8000",)
    write(tmp_path, one(f"{{$secret: {bound.id}}}") + "  priority: 1\n")
    ref = (await found.routes(WISH))[0].api_key
    assert ref is not None
    with pytest.raises(ResourceError, match="for other hosts"):
        await found.reveal(ref, "10.1.2.3:8000")


@pytest.mark.parametrize("key", ["env:NOT_SET_API_KEY", f"{{$secret: {'f' * 64}}}"])
async def test_a_key_that_is_not_there_is_said_when_it_is_needed(tmp_path: Path, store: SecretStore, key: str) -> None:
    found = book(tmp_path, store, one(key))
    ref = (await found.routes(WISH))[0].api_key
    assert ref is not None
    with pytest.raises(ResourceError) as caught:
        await found.reveal(ref, "10.1.2.3:8000")
    assert caught.value.code == "secret_not_found"


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://10.1.2.3:8000", "10.1.2.3", 8000),
        ("http://LocalBox", "localbox", 80),
        ("https://[fd00::1]", "fd00::1", 443),
    ],
)
async def test_the_operators_own_servers_may_be_anywhere(
    tmp_path: Path, store: SecretStore, url: str, host: str, port: int
) -> None:
    from ipaddress import ip_address

    found = book(tmp_path, store, one(host=url))
    await found.routes(WISH)
    policy = AddressPolicy(allowed_hosts=VouchedHosts(found, ["extra"]))
    policy.check(host, port, [ip_address("10.1.2.3")])
    policy.check("extra", 1, [ip_address("10.1.2.3")])
    for other, at in ((host, port + 1), ("other", port)):
        with pytest.raises(RequestRefused):
            policy.check(other, at, [ip_address("10.1.2.3")])
    write(tmp_path, one(host=url) + "  disabled: true\n")
    with pytest.raises(ProviderError):
        await found.routes(WISH)
    assert f"{host}:{port}" not in VouchedHosts(found)


def test_what_is_no_file_is_a_problem(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "not a file" in str(read_channel_file(tmp_path / "pipe").errors[0])
    assert read_channel_file(tmp_path).config is None


# --- channels that users have made ----------------------------------------------------------------------------------


def own(name: str, owner: str, ref: SecretRef | None = None, **more: object) -> UserChannel:
    key = ref.to_json() if ref else None
    host = f"http://{name}.example/v1"
    return UserChannel.model_validate({"id": name, "owner": owner, "baseUrl": host, "apiKey": key, **more})


def write_own(folder: Path, *channels: UserChannel, models: tuple[UserModel, ...] = ()) -> None:
    (folder / "channels.json").write_bytes(UserEntries(channels, models).to_bytes())


async def names(found: ChannelBook, user: str, wish: ModelWish = WISH) -> list[str]:
    try:
        return [item.channel_id for item in await found.of_user(user).routes(wish)]
    except ProviderError:
        return []


async def test_a_users_channel_serves_that_user_alone_and_at_once(tmp_path: Path, store: SecretStore) -> None:
    found = book(tmp_path, store, one())
    assert await names(found, "ann") == ["main"]
    model = UserModel.model_validate({"modelId": "mine", "owner": "ann", "capabilities": ["special"]})
    write_own(tmp_path, own("anns", "ann", priority=1), own("bobs", "bob"), models=(model,))
    assert await names(found, "ann") == ["anns", "main"]
    assert await names(found, "bob") == ["main", "bobs"]
    assert await names(found, "") == ["main"]
    assert await names(found, "bob", ModelWish("channel:anns/m")) == []
    wish = ModelWish(capabilities=("special",))
    assert (await names(found, "ann", wish), await names(found, "bob", wish)) == (["anns", "main"], [])


async def test_the_operators_channel_wins_over_one_of_the_same_id(tmp_path: Path, store: SecretStore) -> None:
    found = book(tmp_path, store, one())
    write_own(tmp_path, own("main", "ann"))
    assert [item.base_url for item in await found.of_user("ann").routes(WISH)] == ["http://10.1.2.3:8000/v1"]
    assert found.is_operators("main")


async def test_a_users_channel_opens_no_address_that_a_graph_may_not_reach(tmp_path: Path, store: SecretStore) -> None:
    from ipaddress import ip_address

    found = book(tmp_path, store)
    write_own(tmp_path, own("lan", "ann", baseUrl="http://10.9.9.9/v1"))
    assert await names(found, "ann") == ["lan"]
    assert not found.is_operators("lan")
    with pytest.raises(RequestRefused):
        AddressPolicy(allowed_hosts=VouchedHosts(found)).check("10.9.9.9", 80, [ip_address("10.9.9.9")])


async def test_a_users_channel_has_only_stored_keys_of_that_user(tmp_path: Path, store: SecretStore) -> None:
    hers = store.put("sk-hers", "ann", ["anns.example:80"])
    found = book(tmp_path, store)
    write_own(tmp_path, own("anns", "ann", hers), own("bobs", "bob", hers, baseUrl="http://anns.example/v1"))
    for user, expected in (("ann", "sk-hers"), ("bob", None)):
        (item,) = await found.of_user(user).routes(WISH)
        assert item.api_key is not None
        if expected:
            assert await found.reveal(item.api_key, "anns.example:80") == expected
            continue
        with pytest.raises(ResourceError) as caught:
            await found.reveal(item.api_key, "anns.example:80")
        assert caught.value.code == "secret_not_found"
    (tmp_path / "channels.json").write_text(
        '{"channels": [{"id": "e", "owner": "ann", "baseUrl": "http://e/v1", "apiKey": "env:X_API_KEY"}], "models": []}'
    )
    assert await names(found, "ann") == []


@pytest.mark.parametrize("content", ["{", "[]", '{"channels": 1, "models": []}', '{"channels": []}', "null"])
async def test_a_damaged_file_of_users_leaves_the_operators_channels(
    tmp_path: Path, store: SecretStore, content: str
) -> None:
    found = book(tmp_path, store, one())
    (tmp_path / "channels.json").write_text(content)
    assert await names(found, "ann") == ["main"]


async def test_groups_take_turns_or_are_mixed(tmp_path: Path, store: SecretStore) -> None:
    groups = "".join(
        f"- {{id: {name}, models: [a, b, c], strategy: {name}}}\n" for name in ("round-robin", "random", "priority")
    )
    found = book(tmp_path, store, f"{one()}modelGroups:\n{groups}")

    async def order(group: str) -> str:
        return "".join(item.model_id for item in await found.routes(ModelWish(group)))

    assert [await order("round-robin") for _ in range(4)] == ["abc", "bca", "cab", "abc"]
    assert [await order("priority") for _ in range(2)] == ["abc", "abc"]
    mixed = {await order("random") for _ in range(60)}
    assert len(mixed) > 1
    assert {"".join(sorted(text)) for text in mixed} == {"abc"}
