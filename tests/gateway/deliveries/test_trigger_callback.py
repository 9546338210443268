"""The secret of a trigger's callback goes to the vault before its definition is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from innkeeper.gateway.deliveries.trigger_callback import with_stored_secret
from innkeeper.gateway.triggers.reading import InvalidTrigger, read_trigger
from innkeeper.nodes.node import SecretRef
from innkeeper.nodes.services.secrets import SecretStore
from innkeeper.nodes.services.webhook_signing import new_secret
from tests.gateway.triggers.definitions import definition

URL = "https://a.example/hook?key=1"


@pytest.fixture
def vault(tmp_path: Path) -> SecretStore:
    return SecretStore(tmp_path / "secrets", b"k" * 40)


def test_a_secret_is_stored_for_its_owner_and_host_and_what_is_shown_can_be_sent_back(vault: SecretStore) -> None:
    secret = new_secret()
    raw = definition(callback={"url": URL, "secret": secret})
    kept = read_trigger(with_stored_secret(raw, "ann", vault)).to_json()
    reference = kept["callback"]["secret"]
    record = vault.load(SecretRef(reference.removeprefix("$secret:")))
    assert (record.value, record.owner, record.hosts) == (secret, "ann", ("a.example:443",))
    assert len(list(vault.stored())) == 1
    assert with_stored_secret(kept, "ann", vault) == kept


@pytest.mark.parametrize("owner", ["ann", "bob"])
def test_a_secret_of_another_host_or_owner_is_refused(vault: SecretStore, owner: str) -> None:
    kept = with_stored_secret(definition(callback={"url": URL, "secret": new_secret()}), "ann", vault)
    url = "https://evil.example" if owner == "ann" else URL
    with pytest.raises(InvalidTrigger) as refused:
        with_stored_secret({**kept, "callback": {**kept["callback"], "url": url}}, owner, vault)
    assert refused.value.problems[0].path == "callback.secret"


@pytest.mark.parametrize("secret", ["canary", "whsec_canary", "whpk_" + "A" * 43])
def test_a_secret_that_cannot_sign_is_refused_unseen(vault: SecretStore, secret: str) -> None:
    with pytest.raises(InvalidTrigger) as refused:
        with_stored_secret(definition(callback={"url": URL, "secret": secret}), "ann", vault)
    assert "canary" not in str(refused.value.problems)
    assert list(vault.stored()) == []


@pytest.mark.parametrize("callback", [None, [], {"url": URL}, {"url": 1, "secret": "x"}, {"url": URL, "secret": 1}])
def test_what_else_is_wrong_stays_for_the_reader(vault: SecretStore, callback: Any) -> None:
    raw = definition(callback=callback)
    assert with_stored_secret(raw, "ann", vault) is raw
