"""Secrets: encrypted at rest, named by references, revealed to their owner and for their hosts only."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fcntl
import hmac
import itertools
import json
import os
import re
import secrets
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from innkeeper.nodes.errors import ResourceError
from innkeeper.nodes.hosts import host_of, is_plain_host, same_host
from innkeeper.nodes.node import SecretRef
from innkeeper.nodes.services.damaged import set_aside, tell, told_since
from innkeeper.nodes.services.deletion_hold import deletion
from innkeeper.nodes.services.files import cannot_write, write_atomic, write_new

KEY_VARIABLE = "INNKEEPER_SECRET_KEY"
KEY_FILE = "secret.key"
OPERATOR = "operator"
"""Owner of keys that were stored for channels."""
SECRETS_FOLDER = "secrets"
MIN_KEY_CHARS = 32
MAX_TRIED = 1_000
RESTORE = (
    f"Stop Innkeeper and put the backup of {KEY_FILE} in its place, or type the API keys anew in the workflows that "
    "use them; runs that use no stored secret go on"
)
MAX_SECRET_BYTES = 64 * 1024
OFFERED_SECRETS = frozenset({"OPENAI_API_KEY"})
OFFERED_SETTINGS = frozenset({"OPENAI_API_BASE"})
_BASE_VARIABLE = "OPENAI_API_BASE"
_DEFAULT_HOST = "api.openai.com:443"
_ENVIRONMENT = "env:"
_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class SecretRecord:
    """A stored secret and the hosts (`name` or `name:port`) it may go to. None yet: it is bound where it goes first."""

    value: str = field(repr=False)
    owner: str
    hosts: tuple[str, ...] = ()


class SecretStore:
    """Secrets of all users, one encrypted file each. Safe for many processes at once.

    Args:
        root: Folder of the files.
        key: The key of the store (`load_or_create_key`).
    """

    def __init__(self, root: Path, key: bytes) -> None:
        self._root = root
        # One key for each use: a name must never help to read a content.
        self._id_key = hmac.digest(key, b"innkeeper secret id", "sha256")
        self._fernet = Fernet(base64.urlsafe_b64encode(hmac.digest(key, b"innkeeper secret content", "sha256")))

    def ref_for(self, value: str, owner: str) -> SecretRef:
        """The name a value has or would have here; stores nothing. Without the store's key it tells nothing."""
        content = json.dumps([owner, value]).encode()
        return SecretRef(hmac.digest(self._id_key, content, "sha256").hex())

    def put(self, value: str, owner: str, hosts: Collection[str] = ()) -> SecretRef:
        """Store a value and name it. The same value of the same owner is stored once; its hosts add up.

        One that has hosts keeps them when it comes again without any.

        Raises:
            ResourceError: Too long (`secret_too_large`), or the disk refuses (`storage_failed`).
        """
        if len(value.encode("utf-8", "surrogatepass")) > MAX_SECRET_BYTES:
            raise ResourceError(f"a secret is over the limit of {MAX_SECRET_BYTES} bytes", code="secret_too_large")
        ref = self.ref_for(value, owner)
        with self._lock():
            record = SecretRecord(value, owner, tuple(sorted(set(hosts))))
            present = self._find(ref)
            if present is not None:
                record = SecretRecord(value, owner, tuple(sorted({*present.hosts, *record.hosts})))
            if record != present:
                write_atomic(self._root / ref.id, self._encrypt(record))
            else:
                os.utime(self._root / ref.id)
        return ref

    def keep(self, secret: str) -> bool:
        """Is there a secret of this id? Then it counts as written now: who writes a reference down keeps it before."""
        if not _ID.fullmatch(secret) or not self._root.is_dir():
            return False
        try:
            with self._lock():
                os.utime(self._root / secret)
        except OSError:
            return False
        return True

    # --- for who collects what is not needed any more ---------------------------------------------------------------

    def stored(self) -> Iterator[str]:
        """The ids of all secrets."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self._root) as entries:
            yield from (entry.name for entry in entries if _ID.fullmatch(entry.name))

    def delete(self, secret: str, before: float) -> bool:
        """Delete a secret that was written, or kept, before a time (seconds since 1970) for the last time.

        One of the operator stays, for it may not have found its way into a file yet; so does one that cannot be read:
        the store's key may come back. While somebody copies the secrets (`deletions_held`), all stay.
        """
        with contextlib.suppress(FileNotFoundError), self._lock(), deletion(self._root) as allowed:
            path = self._root / secret
            if not allowed or path.stat().st_mtime >= before:
                return False
            record = self._find(SecretRef(secret))
            if record is not None and record.owner != OPERATOR:
                path.unlink()
                return True
        return False

    def is_readable(self, secret: str) -> bool:
        """Can the secret of this id be decrypted?"""
        return self._find(SecretRef(secret)) is not None

    def load(self, ref: SecretRef) -> SecretRecord:
        """The record of a reference.

        Raises:
            ResourceError: Unknown (`secret_not_found`) or encrypted with another key (`secret_unreadable`).
        """
        if not _ID.fullmatch(ref.id):
            raise _unknown_secret()
        try:
            token = (self._root / ref.id).read_bytes()
        except FileNotFoundError:
            raise _unknown_secret() from None
        except OSError as error:
            raise ResourceError(
                f"a stored secret cannot be read: {error.strerror}", code="secret_unreadable"
            ) from error
        try:
            return _decode(self._fernet.decrypt(token))
        except InvalidToken:
            message = (
                f"a stored secret cannot be decrypted: it is damaged, or {KEY_FILE} or {KEY_VARIABLE} was changed; "
                "enter it anew, or put the backup of the key in its place"
            )
            raise ResourceError(message, code="secret_unreadable") from None

    def bind(self, ref: SecretRef, host: str) -> SecretRecord:
        """The record, for good bound to `host` if it had no host before. Of two processes the first one binds.

        Raises:
            ResourceError: As `load` and `put`.
        """
        with self._lock():
            record = self.load(ref)
            if not record.hosts:
                record = replace(record, hosts=(host,))
                write_atomic(self._root / ref.id, self._encrypt(record))
            return record

    def _find(self, ref: SecretRef) -> SecretRecord | None:
        try:
            return self.load(ref)
        except ResourceError:
            return None

    def _encrypt(self, record: SecretRecord) -> bytes:
        content = {"value": record.value, "owner": record.owner, "hosts": record.hosts}
        return self._fernet.encrypt(json.dumps(content).encode())

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Two processes that add hosts to one secret at the same time must not forget each other's."""
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self._root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise cannot_write(error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


class UserSecrets:
    """Secrets as one user's node runs see them (`nodes.node.Secrets`).

    A value of the operator's environment goes to the operator's endpoint only, so that a downloaded graph cannot
    send it elsewhere: to the host of OPENAI_API_BASE, or without that to api.openai.com, and to `env_key_hosts`.

    Args:
        environ: The process's environment, read once.
        offered: Names of secret values that graphs may refer to.
        offered_settings: Names of plain values that nodes may read.
        env_key_hosts: More hosts (`name` or `name:port`) that environment values may go to.
    """

    def __init__(
        self,
        store: SecretStore,
        user: str,
        environ: Mapping[str, str],
        *,
        offered: Collection[str] = OFFERED_SECRETS,
        offered_settings: Collection[str] = OFFERED_SETTINGS,
        env_key_hosts: Collection[str] = (),
    ) -> None:
        self._store = store
        self._user = user
        self._secrets = {name: environ[name] for name in offered if environ.get(name)}
        self._settings = {name: environ[name] for name in offered_settings if environ.get(name)}
        base = host_of(environ.get(_BASE_VARIABLE, "")) or _DEFAULT_HOST
        self._env_hosts = (base, *env_key_hosts)

    async def reveal(self, ref: SecretRef, host: str | None = None) -> str:
        """The plain value, for a request to `host` (`name` or `name:port`). The first one binds it, for good.

        Raises:
            ResourceError: Unknown or of another user (`secret_not_found`), or not for that host (`secret_refused`).
        """
        if ref.id.startswith(_ENVIRONMENT):
            return self._reveal_environment(ref.id.removeprefix(_ENVIRONMENT), host)
        record = await asyncio.to_thread(self._store.load, ref)
        if record.owner != self._user:
            # The same words as for one that does not exist: nobody learns what others have.
            raise _unknown_secret()
        if host is not None and not record.hosts and is_plain_host(host):
            record = await asyncio.to_thread(self._store.bind, ref, host)
        if record.hosts:
            _check_host(host, record.hosts, "a secret", "; type it beside the address that it is for")
        elif host is not None:
            raise ResourceError("a secret may not be sent to what is no plain host name", code="secret_refused")
        return record.value

    def from_environment(self, name: str) -> SecretRef | None:
        """A reference to an environment value of the operator; None when it is not set or not offered to nodes."""
        return SecretRef(_ENVIRONMENT + name) if name in self._secrets else None

    def setting(self, name: str) -> str | None:
        """A non-secret environment value offered to nodes; None when it is empty, not set or not offered."""
        return self._settings.get(name)

    def _reveal_environment(self, name: str, host: str | None) -> str:
        value = self._secrets.get(name)
        if value is None:
            raise ResourceError("the environment value is not set or not offered to nodes", code="secret_not_found")
        _check_host(host, self._env_hosts, f"the environment value {name}")
        return value


def load_or_create_key(data_dir: Path, environ: Mapping[str, str]) -> bytes:
    """The key of the secret store: INNKEEPER_SECRET_KEY, else `<data_dir>/secret.key`, made (0600) when missing.

    Processes that start together agree on one key. A file that holds none is put aside, and a new key made.

    Raises:
        ResourceError: The key in the environment is too short (`invalid_secret_key`), or the disk refuses
            (`storage_failed`).
    """
    given = environ.get(KEY_VARIABLE)
    if given:
        return _checked_key(given, KEY_VARIABLE)
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked_folder(data_dir):
            return _stored_key(data_dir / KEY_FILE)
    except OSError as error:
        raise cannot_write(error) from error


def _stored_key(path: Path) -> bytes:
    key = _read_key(path)
    if key is not None:
        return key
    data_dir = path.parent
    aside = set_aside(path).name if os.path.lexists(path) else None
    write_new(path, secrets.token_urlsafe(32).encode())
    has_secrets = any(SecretStore(data_dir / SECRETS_FOLDER, b"").stored())
    if aside is not None or has_secrets:
        what = f"was damaged; the damaged file is kept as {aside}" if aside else "is missing"
        more = f" It does not decrypt what was stored before. {RESTORE}" if has_secrets else ""
        tell(data_dir, f"{KEY_FILE} {what}. A new key was made.{more}")
    key = _read_key(path)
    assert key is not None, "it was just written, under the lock"
    return key


def _read_key(path: Path) -> bytes | None:
    """The key in a file; None when the file holds none."""
    try:
        return _checked_key(path.read_text("utf-8", "replace"), KEY_FILE)
    except (OSError, ResourceError):
        return None


@contextlib.contextmanager
def _locked_folder(folder: Path) -> Iterator[None]:
    """Of two processes that find the same damage, the second finds what the first has made."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def tell_unreadable(store: SecretStore, data_dir: Path) -> None:
    """Say once how many stored secrets cannot be decrypted, and how they come back. Blocking."""
    secrets = list(itertools.islice(store.stored(), MAX_TRIED))
    unreadable = sum(not store.is_readable(secret) for secret in secrets)
    if unreadable:
        which = f"{unreadable} of {len(secrets)} stored secrets cannot be decrypted with {KEY_FILE}"
        if not any(sentence.endswith(RESTORE) for sentence in told_since(data_dir, 0)):
            tell(data_dir, f"{which}. {RESTORE}")


def _checked_key(text: str, source: str) -> bytes:
    key = text.strip()
    if len(key) < MIN_KEY_CHARS:
        message = f"{source} must hold at least {MIN_KEY_CHARS} random characters, found {len(key)}"
        raise ResourceError(message, code="invalid_secret_key")
    return key.encode()


def _decode(content: bytes) -> SecretRecord:
    data = json.loads(content)
    return SecretRecord(data["value"], data["owner"], tuple(data["hosts"]))


def _unknown_secret() -> ResourceError:
    return ResourceError("the secret is not known; enter it anew", code="secret_not_found")


def _check_host(host: str | None, allowed: Collection[str], what: str, remedy: str = "") -> None:
    if host is None:
        raise ResourceError(
            f"{what} is only for requests to {', '.join(allowed)}; the node must say which host it asks",
            code="secret_refused",
        )
    if not any(same_host(host, entry) for entry in allowed):
        raise ResourceError(
            f"{what} may not be sent to {host!r}; it is for {', '.join(allowed)}{remedy}", code="secret_refused"
        )
