from __future__ import annotations

import time

import pytest

from innkeeper.gateway.triggers.scheme_config import check_config, load_scheme
from innkeeper.gateway.triggers.verification import Verified, verify
from innkeeper.nodes.services.webhook_signing import InvalidSecret, new_secret, signed_headers
from tests.gateway.triggers.senders import NOW, OTHER_STANDARD_SECRET, STANDARD_SECRET


def test_the_public_vector_is_signed_as_published() -> None:
    headers = signed_headers(
        [STANDARD_SECRET], "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', sent_at=NOW + 0.9
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize("receiver", [STANDARD_SECRET, OTHER_STANDARD_SECRET])
def test_a_receiver_with_the_old_or_the_new_secret_believes_it(receiver: str) -> None:
    headers = signed_headers([OTHER_STANDARD_SECRET, STANDARD_SECRET], "run_1:complete", b"\xff\x00", sent_at=NOW)
    scheme = load_scheme("standard", {})
    found = verify(scheme, [receiver], list(headers.items()), b"\xff\x00", now=NOW)
    assert isinstance(found, Verified)
    assert found.delivery_id == "run_1:complete"


def test_new_secrets_are_valid_and_differ() -> None:
    secrets = [new_secret(), new_secret()]
    assert check_config("standard", {}, secrets) == ()
    assert secrets[0] != secrets[1]
    assert signed_headers(secrets, "m", b"", sent_at=time.time())["webhook-signature"].count("v1,") == 2


@pytest.mark.parametrize("secrets", [[], [""], ["plain"], [STANDARD_SECRET, "whsec_AAAA"], ["whpk_" + "A" * 43]])
def test_what_cannot_sign_is_refused(secrets: list[str]) -> None:
    with pytest.raises(InvalidSecret):
        signed_headers(secrets, "m", b"", sent_at=NOW)


@pytest.mark.parametrize("message_id", ["", "a.b", "a b", "a\n", "ü", "x" * 257])
def test_an_id_that_could_be_cut_otherwise_is_refused(message_id: str) -> None:
    with pytest.raises(ValueError, match="message id"):
        signed_headers([STANDARD_SECRET], message_id, b"", sent_at=NOW)
