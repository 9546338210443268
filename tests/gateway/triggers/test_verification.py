from __future__ import annotations

import base64
import hmac
from hmac import compare_digest

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.gateway.triggers.scheme_config import load_scheme
from innkeeper.gateway.triggers.verification import RefusalKind, Refused, Verified, verify
from tests.gateway.triggers.senders import (
    CHECKING,
    CONFIGS,
    NOW,
    OTHER_STANDARD_SECRET,
    SIGNING,
    STANDARD_SECRET,
    TIMED,
    Headers,
    b64,
    mac,
    secrets_of,
    send,
)

BODY = b'{"id": "evt_1", "event_id": "Ev1"}'
BINARY = bytes(range(256))
SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
STANDARD_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
STRIPE_BODY = b'{"id":"evt_1NG8Du2eZvKYlo2CUI79vXWy","object":"event","type":"charge.succeeded"}'
STRIPE_TEST = "47b5220a3cac26c7223e887b87a9f77d160ef612711229980fc115f2606534fd"
STRIPE_NEXT = "be18b62494f804bd916d303f5c8f512e3f0684840b48d963960cfa2b034feb46"


def check(
    name: str, headers: Headers, body: bytes = BODY, secrets: tuple[str, ...] | None = None, now: float = NOW
) -> Verified | Refused:
    scheme = load_scheme(name, CONFIGS.get(name, {}))
    return verify(scheme, secrets_of(name)[:1] if secrets is None else secrets, headers, body, now=now)


def kind(result: Verified | Refused) -> RefusalKind:
    assert isinstance(result, Refused)
    assert result.reason
    return result.kind


def replaced(headers: Headers, name: str, value: str) -> Headers:
    assert any(known == name for known, _ in headers)
    return [(known, value if known == name else old) for known, old in headers]


def standard(prefix: str = "webhook", **changes: str) -> Headers:
    values = {"id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "timestamp": str(NOW), "signature": STANDARD_SIGNATURE, **changes}
    return [(f"{prefix}-{name}", value) for name, value in values.items()]


STANDARD_BODY = b'{"test": 2432232314}'


# --- public vectors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "prefix"), [("standard", "webhook"), ("svix", "svix"), ("svix", "webhook")])
def test_the_vector_of_standard_webhooks(name: str, prefix: str) -> None:
    found = check(name, standard(prefix), STANDARD_BODY)
    assert isinstance(found, Verified)
    assert (found.delivery_id, found.signed_at) == ("msg_p5jXN8AQM9LWM0D4loKWxJek", NOW)


def test_the_vector_of_github() -> None:
    value = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    found = check("github", [("X-Hub-Signature-256", value)], b"Hello, World!")
    assert found == Verified()


def test_the_vector_of_slack() -> None:
    value = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    headers = [("X-Slack-Signature", value), ("X-Slack-Request-Timestamp", "1531420618")]
    secret = ("8f742231b10e8888abcd99yyyzzz85a5",)
    assert isinstance(check("slack", headers, SLACK_BODY, secret, now=1531420618), Verified)


@pytest.mark.parametrize("secret", ["whsec_test_secret", "whsec_next_secret"])
def test_stripe_signs_with_the_whole_text_of_its_secret(secret: str) -> None:
    """Signatures made by `stripe` 16.1.0 (32 MB, so not installed for tests)."""
    headers = [("Stripe-Signature", f"t={NOW},v1={STRIPE_TEST},v1={STRIPE_NEXT},v0=aa")]
    found = check("stripe", headers, STRIPE_BODY, (secret,))
    assert isinstance(found, Verified)
    assert found.delivery_id == "evt_1NG8Du2eZvKYlo2CUI79vXWy"


def test_the_whsec_of_standard_is_no_text_and_that_of_stripe_no_base64() -> None:
    as_text = b64(mac(STANDARD_SECRET, f"d_1.{NOW}.".encode() + BODY))
    headers = replaced(send("standard", STANDARD_SECRET, BODY), "webhook-signature", f"v1,{as_text}")
    assert kind(check("standard", headers)) == "bad_signature"
    decoded = mac(base64.b64decode(STANDARD_SECRET[6:]), f"{NOW}.".encode() + BODY).hex()
    headers = [("Stripe-Signature", f"t={NOW},v1={decoded}")]
    assert kind(check("stripe", headers, secrets=(STANDARD_SECRET,))) == "bad_signature"


# --- each scheme: right, tampered, other secrets --------------------------------------------------------------------


@pytest.mark.parametrize("body", [BODY, BINARY, b""])
@pytest.mark.parametrize("name", CHECKING)
def test_a_right_request_passes_whatever_its_bytes(name: str, body: bytes) -> None:
    assert isinstance(check(name, send(name, secrets_of(name)[0], body), body), Verified)


@pytest.mark.parametrize("name", SIGNING)
@pytest.mark.parametrize("body", [BODY + b" ", BODY[:-1], BODY.replace(b"1", b"2"), b"", BINARY])
def test_a_tampered_body_is_refused(name: str, body: bytes) -> None:
    assert kind(check(name, send(name, secrets_of(name)[0], BODY), body)) == "bad_signature"


@pytest.mark.parametrize("name", CHECKING)
def test_both_secrets_count_and_no_other(name: str) -> None:
    old, new = secrets_of(name)
    assert isinstance(check(name, send(name, old, BODY), secrets=(new, old)), Verified)
    assert isinstance(check(name, send(name, new, BODY), secrets=(new, old)), Verified)
    assert kind(check(name, send(name, old, BODY), secrets=(new,))) == "bad_signature"


@pytest.mark.parametrize("name", CHECKING)
@pytest.mark.parametrize("secrets", [(), ("",), ("   ",), ("whsec_",), ("\ud800:",)])
def test_without_a_usable_secret_nothing_passes(name: str, secrets: tuple[str, ...]) -> None:
    """An empty key is a key that everybody has."""
    headers = send(name, secrets_of(name)[0], BODY)
    assert kind(check(name, headers, secrets=secrets)) == "bad_signature"
    forged = send(name, "", BODY)
    assert isinstance(check(name, forged, secrets=("",)), Refused)


@pytest.mark.parametrize("name", CHECKING)
def test_every_doubled_header_that_counts_is_malformed(name: str) -> None:
    """Also with the same value: the next reader of the request may take the other one."""
    headers = send(name, secrets_of(name)[0], BODY)
    for doubled in headers:
        assert kind(check(name, [*headers, doubled])) == "malformed"
        assert kind(check(name, [(doubled[0].upper(), "x"), *headers])) == "malformed"


@pytest.mark.parametrize("name", CHECKING)
def test_names_are_read_in_any_case_and_bytes_like_text(name: str) -> None:
    headers = [(key.upper().encode(), b" " + value.encode()) for key, value in send(name, secrets_of(name)[0], BODY)]
    scheme = load_scheme(name, CONFIGS.get(name, {}))
    assert isinstance(verify(scheme, secrets_of(name), headers, BODY, now=NOW), Verified)


@pytest.mark.parametrize("name", CHECKING)
def test_a_missing_or_empty_proof_is_malformed(name: str) -> None:
    assert kind(check(name, [])) == "malformed"
    emptied = [(key, "") for key, _ in send(name, secrets_of(name)[0], BODY)]
    assert kind(check(name, emptied)) == "malformed"


WRONG_ENCODINGS = [
    ("standard", "webhook-signature", "abc"),
    ("standard", "webhook-signature", "v1,a,b"),
    ("standard", "webhook-signature", "v1,"),
    ("standard", "webhook-signature", "v2," + STANDARD_SIGNATURE[3:]),
    ("standard", "webhook-signature", "v1," + "ü" * 8),
    ("github", "X-Hub-Signature-256", "sha1=" + "0" * 40),
    ("github", "X-Hub-Signature-256", "sha256=" + "xy" * 32),
    ("github", "X-Hub-Signature-256", "sha256=" + " 0" * 64),
    ("github", "X-Hub-Signature-256", "0" * 64),
    ("stripe", "Stripe-Signature", f"t={NOW}"),
    ("stripe", "Stripe-Signature", f"t={NOW},v0={STRIPE_TEST}"),
    ("stripe", "Stripe-Signature", f"v1={STRIPE_TEST}"),
    ("stripe", "Stripe-Signature", f"t={NOW},t={NOW + 1},v1={STRIPE_TEST}"),
    ("slack", "X-Slack-Signature", "v1=" + "0" * 64),
    ("slack", "X-Slack-Request-Timestamp", "1e9"),
    ("slack", "X-Slack-Request-Timestamp", "-5"),
    ("slack", "X-Slack-Request-Timestamp", "١٢٣"),
    ("slack", "X-Slack-Request-Timestamp", "9" * 400),
    ("shopify", "X-Shopify-Hmac-SHA256", "0" * 63 + "!"),
    ("generic", "X-Sum", "mac ++//"),
    ("generic", "X-Time", "1.5"),
    ("basic", "Authorization", "Bearer YTpi"),
    ("basic", "Authorization", "Basic YT pi"),
]


@pytest.mark.parametrize(("name", "header", "value"), WRONG_ENCODINGS)
def test_a_wrong_encoding_is_malformed(name: str, header: str, value: str) -> None:
    assert kind(check(name, replaced(send(name, secrets_of(name)[0], BODY), header, value))) == "malformed"


@pytest.mark.parametrize("name", ["github", "slack", "shopify", "standard"])
def test_a_shortened_signature_is_refused(name: str) -> None:
    headers = send(name, secrets_of(name)[0], BODY)
    header = next(key for key, _ in headers if "sig" in key.lower() or "hmac" in key.lower())
    value = dict(headers)[header]
    assert isinstance(check(name, replaced(headers, header, value[:-4])), Refused)


def test_spaces_inside_hex_are_refused() -> None:
    headers = send("github", secrets_of("github")[0], BODY)
    digest = dict(headers)["X-Hub-Signature-256"].removeprefix("sha256=")
    spaced = replaced(headers, "X-Hub-Signature-256", f"sha256={digest[:32]} {digest[32:]}")
    assert kind(check("github", spaced)) == "malformed"


@pytest.mark.parametrize("name", CHECKING)
def test_text_that_no_bytes_stand_for_is_refused(name: str) -> None:
    headers = send(name, secrets_of(name)[0], BODY)
    for at, (header, value) in enumerate(headers):
        broken = [*headers[:at], (header, "\ud800" + value), *headers[at + 1 :]]
        assert isinstance(check(name, broken), Refused)


def test_two_spaces_and_unknown_versions_do_not_hide_the_right_signature() -> None:
    signature = f"v1a,AAAA  v9,x {STANDARD_SIGNATURE}"
    assert isinstance(check("standard", standard(signature=signature), STANDARD_BODY), Verified)


def test_the_number_and_length_of_signatures_are_bounded() -> None:
    many = " ".join([STANDARD_SIGNATURE] * 21)
    assert kind(check("standard", standard(signature=many), STANDARD_BODY)) == "malformed"
    long = STANDARD_SIGNATURE + " x" * 4000
    assert kind(check("standard", standard(signature=long), STANDARD_BODY)) == "malformed"


def test_header_sets_of_svix_are_not_mixed() -> None:
    both = [*standard("svix", signature="v1,AAAA"), *standard("webhook")]
    assert kind(check("svix", both, STANDARD_BODY)) == "bad_signature"
    assert kind(check("standard", standard("svix"), STANDARD_BODY)) == "malformed"


def test_a_full_stop_in_an_id_cannot_move_the_start_of_the_body() -> None:
    """`a.1.2.rest` is signed for id `a`, time 1, body `2.rest`, and not for id `a.1`, time 2, body `rest`."""
    later = NOW + 10_000
    body = f"{later}.rest".encode()
    signature = dict(send("standard", STANDARD_SECRET, body))["webhook-signature"]
    moved = [("webhook-id", f"d_1.{NOW}"), ("webhook-timestamp", str(later)), ("webhook-signature", signature)]
    assert kind(check("standard", moved, b"rest", now=later)) == "malformed"


# --- ed25519 --------------------------------------------------------------------------------------------------------


def public_secret(key: Ed25519PrivateKey) -> str:
    return "whpk_" + b64(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def signed_by(key: Ed25519PrivateKey, body: bytes = BODY) -> str:
    return "v1a," + b64(key.sign(f"d_1.{NOW}.".encode() + body))


@pytest.mark.parametrize("body", [BODY, BINARY])
def test_ed25519_signatures_count_for_standard_and_svix(body: bytes) -> None:
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    for name, prefix in (("standard", "webhook"), ("svix", "svix")):
        headers = standard(prefix, id="d_1", signature=signed_by(key, body))
        assert isinstance(check(name, headers, body, (public_secret(other), public_secret(key))), Verified)
        assert isinstance(check(name, headers, body, (STANDARD_SECRET, public_secret(key))), Verified)
        assert kind(check(name, headers, body + b"x", (public_secret(key),))) == "bad_signature"
        assert kind(check(name, headers, body, (public_secret(other), STANDARD_SECRET))) == "bad_signature"


def test_a_public_key_is_never_the_key_of_a_mac() -> None:
    """Everybody knows it, so everybody could sign."""
    public = public_secret(Ed25519PrivateKey.generate())
    forged = b64(mac(base64.b64decode(public[5:]), f"d_1.{NOW}.".encode() + BODY))
    for version in ("v1", "v1a"):
        headers = standard(id="d_1", signature=f"{version},{forged}")
        assert kind(check("standard", headers, secrets=(public,))) == "bad_signature"


def test_a_right_mac_under_the_name_of_ed25519_is_refused() -> None:
    headers = standard(signature="v1a" + STANDARD_SIGNATURE[2:])
    assert kind(check("standard", headers, STANDARD_BODY)) == "bad_signature"


# --- time and replays -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TIMED)
def test_expired_and_future_requests_are_stale(name: str) -> None:
    tolerance = 60 if name == "generic" else 300
    headers = send(name, secrets_of(name)[0], BODY)
    for now in (NOW - tolerance, NOW, NOW + tolerance):
        assert isinstance(check(name, headers, now=now), Verified)
    for now in (NOW - tolerance - 1, NOW + tolerance + 0.01, NOW + 10**9):
        assert kind(check(name, headers, now=now)) == "stale"


@pytest.mark.parametrize("name", TIMED)
def test_a_time_cannot_be_moved_to_now(name: str) -> None:
    headers = [(key, value.replace(str(NOW), str(NOW + 900))) for key, value in send(name, secrets_of(name)[0], BODY)]
    assert kind(check(name, headers, now=NOW + 900)) == "bad_signature"


@pytest.mark.parametrize("name", TIMED)
def test_a_request_is_remembered_for_as_long_as_it_passes(name: str) -> None:
    """One that is signed in the future passes for up to two windows: arrival + window would forget it too early."""
    headers = send(name, secrets_of(name)[0], BODY)
    tolerance = 60 if name == "generic" else 300
    early = check(name, headers, now=NOW - tolerance)
    assert isinstance(early, Verified)
    assert early.replay_key
    assert early.signed_at == NOW
    assert early.replay_until == NOW + tolerance
    again = check(name, headers, now=early.replay_until)
    assert isinstance(again, Verified)
    assert again.replay_key == early.replay_key
    assert kind(check(name, headers, now=early.replay_until + 0.001)) == "stale"


def key_of(result: Verified | Refused) -> str | None:
    assert isinstance(result, Verified)
    return result.replay_key


def test_a_replay_does_not_become_new_by_leaving_out_a_signature() -> None:
    secrets = ("whsec_test_secret", "whsec_next_secret")
    lists = (
        f"v1={STRIPE_TEST},v1={STRIPE_NEXT}",
        f"v1={STRIPE_NEXT}",
        f"v1={STRIPE_NEXT.upper()}, v1={STRIPE_TEST}",
    )
    headers = [[("Stripe-Signature", f"t={NOW},{signatures}")] for signatures in lists]
    assert len({key_of(check("stripe", each, STRIPE_BODY, secrets)) for each in headers}) == 1


def test_a_replay_does_not_become_new_by_an_id_that_is_not_signed() -> None:
    config = {"header": "X-Sum", "template": "{ts}.{body}", "timestamp_header": "X-T", "delivery_id_header": "X-Id"}
    scheme = load_scheme("generic", config)
    base = [("X-Sum", mac("secret", f"{NOW}.".encode() + BODY).hex()), ("X-T", str(NOW))]
    found = [verify(scheme, ["secret"], [*base, ("X-Id", value)], BODY, now=NOW) for value in ("a", "b")]
    assert len({key_of(each) for each in found}) == 1
    assert [each.delivery_id for each in found if isinstance(each, Verified)] == ["a", "b"]


@pytest.mark.parametrize("name", ["standard", "svix"])
def test_a_resend_has_the_same_id_and_is_no_replay(name: str) -> None:
    """A human presses "redeliver": whether it runs again is for the trigger's `dedupe` to say."""
    first, second = (check(name, send(name, STANDARD_SECRET, BODY, at)) for at in (NOW, NOW + 5))
    assert isinstance(first, Verified)
    assert isinstance(second, Verified)
    assert first.delivery_id == second.delivery_id == "d_1"
    assert first.replay_key != second.replay_key


def test_events_without_time_and_id_are_never_taken_for_each_other() -> None:
    """Pings without a body are equal to the last byte, and each of them is an event."""
    for name in ("github", "shopify", "token", "basic"):
        found = check(name, send(name, secrets_of(name)[0], b"")[:1], b"")
        assert found == Verified()
    with_id = check("github", send("github", secrets_of("github")[0], b""), b"")
    assert with_id == Verified("d_1", replay_key="id:d_1")


def test_ids_in_signed_bodies_are_found() -> None:
    for name, expected in (("stripe", "evt_1"), ("slack", "Ev1")):
        found = check(name, send(name, secrets_of(name)[0], BODY))
        assert isinstance(found, Verified)
        assert found.delivery_id == expected
    for body in (b"[1]", b'{"id": 7}', b'{"id": ""}', b"\xff", b"[" * 100_000):
        found = check("stripe", send("stripe", "whsec_one", body), body)
        assert isinstance(found, Verified)
        assert found.delivery_id is None


@pytest.mark.parametrize("value", ["a b", "ü", "x" * 257, "a\x00b"])
def test_an_id_that_is_none_is_malformed(value: str) -> None:
    headers = replaced(send("github", secrets_of("github")[0], BODY), "X-GitHub-Delivery", value)
    assert kind(check("github", headers)) == "malformed"


# --- generic, token, basic, none ------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64", "base64url"])
def test_generic_takes_each_algorithm_and_encoding_and_only_that(algorithm: str, encoding: str) -> None:
    config = {"header": "X-Sum", "algorithm": algorithm, "encoding": encoding}
    digest = mac("secret", BINARY, algorithm)
    spellings = {
        "hex": digest.hex(),
        "base64": b64(digest),
        "base64url": base64.urlsafe_b64encode(digest).decode(),
    }
    scheme = load_scheme("generic", config)
    assert verify(scheme, ["secret"], [("x-sum", spellings[encoding])], BINARY, now=NOW) == Verified()
    wrong = spellings["base64" if encoding == "hex" else "hex"]
    assert isinstance(verify(scheme, ["secret"], [("x-sum", wrong)], BINARY, now=NOW), Refused)


def test_generic_without_a_bound_takes_old_requests() -> None:
    config = {"header": "X-Sum", "template": "{ts}.{body}", "timestamp_header": "X-T", "tolerance_s": None}
    headers = [("X-Sum", mac("secret", b"5." + BODY).hex()), ("X-T", "5")]
    found = verify(load_scheme("generic", config), ["secret"], headers, BODY, now=NOW)
    assert isinstance(found, Verified)
    assert (found.signed_at, found.replay_until) == (5, None)
    assert found.replay_key


def test_a_token_can_have_a_prefix() -> None:
    scheme = load_scheme("token", {"header": "Authorization", "prefix": "Bearer "})
    assert verify(scheme, ["tököን"], [("Authorization", "Bearer tököን")], b"", now=NOW) == Verified()
    for value in ("tököን", "Bearer tököንx", "Bearer t", "Bearer"):
        assert isinstance(verify(scheme, ["tököን"], [("Authorization", value)], b"", now=NOW), Refused)


def test_none_lets_everybody_in() -> None:
    assert check("none", [], secrets=()) == Verified()
    scheme = load_scheme("none", {"delivery_id_header": "X-Id"})
    assert verify(scheme, [], [("x-id", "7")], b"", now=NOW) == Verified("7", replay_key="id:7")


@pytest.mark.parametrize(("name", "comparisons"), [("standard", 4), ("github", 2), ("token", 2), ("basic", 2)])
def test_every_secret_is_compared_in_constant_time(
    monkeypatch: pytest.MonkeyPatch, name: str, comparisons: int
) -> None:
    """Also after one fitted: the time must not tell which."""
    lengths = []

    def compare(a: bytes, b: bytes) -> bool:
        lengths.append((len(a), len(b)))
        return compare_digest(a, b)

    headers = send(name, secrets_of(name)[0], BODY)
    if name == "standard":
        headers = replaced(headers, "webhook-signature", dict(headers)["webhook-signature"] + " " + STANDARD_SIGNATURE)
    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert isinstance(check(name, headers, secrets=secrets_of(name)), Verified)
    assert lengths == [(32, 32)] * comparisons


# --- anything at all ------------------------------------------------------------------------------------------------

HEADER_NAMES = st.sampled_from(
    sorted({name for scheme in CHECKING for name, _ in send(scheme, secrets_of(scheme)[0], b"")})
)
PIECES = st.sampled_from(
    ["v1,", "v1a,", "v0=", "t=", "v1=", "sha256=", "Basic ", "mac ", ",", " ", "=", ".", str(NOW), STANDARD_SIGNATURE]
)
VALUES = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=30),
    st.text(alphabet=st.characters(), max_size=30),
    st.lists(PIECES | st.text(max_size=5), max_size=12).map("".join),
)
ANY_HEADERS = st.lists(st.tuples(HEADER_NAMES | st.binary(max_size=9) | st.text(max_size=9), VALUES), max_size=10)


@given(st.sampled_from(CHECKING), ANY_HEADERS, st.binary(max_size=200))
def test_nobody_passes_by_chance_and_nothing_raises(name: str, headers: Headers, body: bytes) -> None:
    assert isinstance(check(name, headers, body, secrets_of(name)), Refused)


@given(st.sampled_from(CHECKING), st.data(), st.binary(max_size=200))
def test_damaged_headers_of_a_right_request_never_raise(name: str, data: st.DataObject, body: bytes) -> None:
    headers = send(name, secrets_of(name)[0], body)
    at = data.draw(st.integers(0, len(headers) - 1))
    damaged = [*headers[:at], (headers[at][0], data.draw(VALUES)), *headers[at + 1 :]]
    found = check(name, damaged, body)
    if at == 0 and name not in ("standard", "svix"):  # the proof itself; of the others, an id comes first
        assert isinstance(found, Refused)


@given(st.sampled_from(SIGNING), st.binary(max_size=300), st.integers(0, 2**31), st.data())
def test_what_is_signed_passes_and_one_changed_bit_does_not(
    name: str, body: bytes, at: int, data: st.DataObject
) -> None:
    headers = send(name, secrets_of(name)[0], body, at)
    assert isinstance(check(name, headers, body, now=at), Verified)
    if body:
        place = data.draw(st.integers(0, len(body) * 8 - 1))
        changed = bytearray(body)
        changed[place // 8] ^= 1 << place % 8
        assert isinstance(check(name, headers, bytes(changed), now=at), Refused)


def test_other_secrets_of_the_standard_form_are_others() -> None:
    assert kind(check("standard", standard(), STANDARD_BODY, (OTHER_STANDARD_SECRET,))) == "bad_signature"
