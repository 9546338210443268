"""All triggers, in memory and in the store. One gateway process owns them."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from innkeeper.gateway.deliveries.trigger_callback import with_stored_secret
from innkeeper.gateway.errors import NotFound, shown
from innkeeper.gateway.store.models import TriggerRow
from innkeeper.gateway.store.runs import now_ms
from innkeeper.gateway.store.triggers import TriggerChange, TriggerStore
from innkeeper.gateway.triggers.model import Kind, Trigger
from innkeeper.gateway.triggers.reading import InvalidTrigger, read_trigger
from innkeeper.nodes.errors import InnkeeperError, ResourceError
from innkeeper.nodes.node import SecretRef
from innkeeper.nodes.services.secrets import SecretStore

logger = logging.getLogger("innkeeper.gateway.triggers")

MAX_TRIGGERS = 5_000
TOKEN_BYTES = 24


class NameTaken(InnkeeperError):
    """Another trigger has this name."""

    code = "name_taken"


class TriggerChanged(InnkeeperError):
    """Somebody changed the trigger meanwhile."""

    code = "version_mismatch"


class TooManyTriggers(InnkeeperError):
    code = "too_many_triggers"


@dataclass(frozen=True)
class StoredTrigger:
    """A trigger. Times in milliseconds since 1970.

    Attributes:
        version: 1, 2, ...: one more with each change.
        secrets: Names of stored secrets; the first is the newest.
    """

    number: int
    id: str
    user: str
    definition: Trigger
    version: int
    token_hash: str | None = None
    secrets: tuple[str, ...] = ()
    created_at: int = 0
    updated_at: int = 0
    counters: dict[str, int] = field(default_factory=dict, compare=False)


Listener = Callable[[StoredTrigger | None, StoredTrigger | None], None]
"""Told of each change: the trigger before and after; None: it was not there, it is gone. Must not raise."""


class TriggerBook:
    """The triggers of this gateway.

    Attributes:
        listeners: Told of each change after it was committed.
    """

    def __init__(self, store: TriggerStore, vault: SecretStore) -> None:
        self._store = store
        self._vault = vault
        self._by_id: dict[str, StoredTrigger] = {}
        self._by_token: dict[str, str] = {}
        self._by_number: dict[int, str] = {}
        self._by_kind: dict[Kind, dict[str, StoredTrigger]] = {}
        self._values: dict[str, str] = {}
        self.listeners: list[Listener] = []

    async def load(self) -> None:
        """Read what is stored; once, before anything else. One that cannot be read is left out, and said so."""
        for row in await self._store.triggers():
            try:
                self._keep(_stored(row))
            except (InvalidTrigger, ValueError, TypeError) as error:
                logger.error(
                    "a stored trigger cannot be read (%s): it starts nothing", error, extra={"trigger": row.id}
                )

    # --- finding --------------------------------------------------------------------------------------------------

    def get(self, user: str, trigger_id: str) -> StoredTrigger:
        """A trigger by its id. Raises NotFound."""
        found = self._by_id.get(trigger_id)
        if found is None or found.user != user:
            raise NotFound(
                f"there is no trigger {shown(trigger_id)}: 'innkeeper triggers list' or GET /api/triggers lists them",
                code="trigger_not_found",
            )
        return found

    def find(self, trigger_id: str) -> StoredTrigger | None:
        """A trigger of any user: for what comes from inside."""
        return self._by_id.get(trigger_id)

    def by_number(self, number: int) -> StoredTrigger | None:
        found = self._by_number.get(number)
        return None if found is None else self._by_id[found]

    def by_name(self, user: str, name: str) -> StoredTrigger | None:
        return next((trigger for trigger in self.all(user) if trigger.definition.name == name), None)

    def by_token(self, token: str) -> StoredTrigger | None:
        """The webhook whose address ends with this token."""
        found = self._by_token.get(_token_hash(token))
        return None if found is None else self._by_id[found]

    def all(self, user: str) -> list[StoredTrigger]:
        """By name."""
        mine = [trigger for trigger in self._by_id.values() if trigger.user == user]
        return sorted(mine, key=lambda trigger: (trigger.definition.name.lower(), trigger.number))

    def of_kind(self, kind: Kind, *, enabled: bool = True) -> list[StoredTrigger]:
        """Of all users, the oldest first. `enabled`: only those that are."""
        # Asked at each end of a run: only what is wanted is put in order.
        wanted = (
            trigger for trigger in self._by_kind.get(kind, {}).values() if trigger.definition.enabled or not enabled
        )
        return sorted(wanted, key=lambda trigger: trigger.number)

    def everything(self) -> list[StoredTrigger]:
        """Of all users and kinds."""
        return list(self._by_id.values())

    def secret_values(self, trigger: StoredTrigger) -> list[str]:
        """The secrets themselves. Blocking where one was not read before. Those that cannot be read are left out."""
        values = []
        for name in trigger.secrets:
            if name not in self._values:
                try:
                    self._values[name] = self._vault.load(SecretRef(name)).value
                except ResourceError as error:
                    logger.error("a secret of a trigger cannot be read: %s", error, extra={"trigger": trigger.id})
                    continue
            values.append(self._values[name])
        return values

    async def with_sealed_callback(self, raw: Mapping[str, Any], user: str) -> dict[str, Any]:
        """A trigger as a client sends it, the secret of its callback stored and replaced by `$secret:id`, as
        `read_trigger` takes it. Raises InvalidTrigger, ResourceError."""
        return dict(await asyncio.to_thread(with_stored_secret, raw, user, self._vault))

    # --- changing -------------------------------------------------------------------------------------------------

    async def create(
        self, user: str, definition: Trigger, secrets_: Sequence[str] = ()
    ) -> tuple[StoredTrigger, str | None]:
        """Write a new trigger down; gives it, and of a webhook the token of its address, which is kept nowhere.

        Args:
            secrets_: In plain text; they go to the vault.

        Raises:
            NameTaken, TooManyTriggers.
        """
        if len(self._by_id) >= MAX_TRIGGERS:
            raise TooManyTriggers(f"there are {MAX_TRIGGERS} triggers, and there cannot be more: delete some")
        token = secrets.token_urlsafe(TOKEN_BYTES) if definition.kind == "webhook" else None
        now = now_ms()
        trigger = StoredTrigger(
            number=0,
            id=secrets.token_hex(10),
            user=user,
            definition=definition,
            version=1,
            token_hash=None if token is None else _token_hash(token),
            secrets=await self._sealed(secrets_, user),
            created_at=now,
            updated_at=now,
        )
        number = await self._store.add(_values(trigger))
        if number is None:
            raise _name_taken(definition)
        trigger = _counted(replace(trigger, number=number))
        self._changed(None, trigger)
        return trigger, token

    async def change(
        self, trigger: StoredTrigger, definition: Trigger | None = None, *, secrets_: Sequence[str] | None = None
    ) -> StoredTrigger:
        """Give a trigger another definition, or other secrets; None keeps what it has.

        Raises:
            TriggerChanged: It is not the one that was given, any more.
            NameTaken, NotFound.
        """
        sealed = trigger.secrets if secrets_ is None else await self._sealed(secrets_, trigger.user)
        return await self._replace(
            trigger, replace(trigger, definition=definition or trigger.definition, secrets=sealed)
        )

    async def rotate_token(self, trigger: StoredTrigger) -> tuple[StoredTrigger, str]:
        """Give a webhook a new address; the old one is gone at once. Raises as `change`."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        return await self._replace(trigger, replace(trigger, token_hash=_token_hash(token))), token

    async def delete(self, trigger: StoredTrigger) -> None:
        """Forget a trigger and what came for it; runs that it started go on. Raises TriggerChanged, NotFound."""
        if not await self._store.delete(trigger.number, trigger.version):
            raise self._why_not(trigger)
        self._changed(trigger, None)

    async def _replace(self, before: StoredTrigger, after: StoredTrigger) -> StoredTrigger:
        after = _counted(replace(after, version=before.version + 1, updated_at=now_ms()))
        values = {name: value for name, value in _values(after).items() if name not in ("id", "counters", "created_at")}
        done = await self._store.change(TriggerChange(before.number, before.version, values))
        if done is None:
            raise _name_taken(after.definition)
        if not done:
            raise self._why_not(before)
        self._changed(before, after)
        return after

    def _why_not(self, trigger: StoredTrigger) -> InnkeeperError:
        current = self.get(trigger.user, trigger.id)
        return TriggerChanged(
            f"the trigger {shown(trigger.definition.name)} has version {current.version} by now, not "
            f"{trigger.version}: read it again, and change that"
        )

    async def _sealed(self, values: Sequence[str], user: str) -> tuple[str, ...]:
        refs = [await asyncio.to_thread(self._vault.put, value, user) for value in values]
        return tuple(ref.id for ref in refs)

    def _changed(self, before: StoredTrigger | None, after: StoredTrigger | None) -> None:
        if before is not None:
            self._by_id.pop(before.id, None)
            self._by_token.pop(before.token_hash or "", None)
            self._by_number.pop(before.number, None)
            self._by_kind.get(before.definition.kind, {}).pop(before.id, None)
        if after is not None:
            self._keep(after)
        for listener in self.listeners:
            try:
                listener(before, after)
            except Exception:  # the change is made, whoever cannot follow
                logger.exception("a change of a trigger was not followed")

    def _keep(self, trigger: StoredTrigger) -> None:
        self._by_id[trigger.id] = trigger
        self._by_number[trigger.number] = trigger.id
        self._by_kind.setdefault(trigger.definition.kind, {})[trigger.id] = trigger
        if trigger.token_hash is not None:
            self._by_token[trigger.token_hash] = trigger.id


def _token_hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _name_taken(definition: Trigger) -> NameTaken:
    return NameTaken(f"another trigger is named {shown(definition.name)}: a name is unique")


def _counted(trigger: StoredTrigger) -> StoredTrigger:
    """With the number of its secrets in the definition, which no client says."""
    webhook = trigger.definition.webhook
    if webhook is None or webhook.secret_count == len(trigger.secrets):
        return trigger
    told = webhook.model_copy(update={"secret_count": len(trigger.secrets)})
    return replace(trigger, definition=trigger.definition.model_copy(update={"webhook": told}))


def _stored(row: TriggerRow) -> StoredTrigger:
    """Raises InvalidTrigger, ValueError, TypeError: the row is damaged."""
    names, counters = orjson.loads(row.secrets), orjson.loads(row.counters)
    return _counted(
        StoredTrigger(
            number=row.number,
            id=row.id,
            user=row.user_id,
            definition=read_trigger(orjson.loads(row.definition)),
            version=row.version,
            token_hash=row.token_hash,
            secrets=tuple(name for name in names if isinstance(name, str)),
            created_at=row.created_at,
            updated_at=row.updated_at,
            counters={key: value for key, value in counters.items() if isinstance(value, int)},
        )
    )


def _values(trigger: StoredTrigger) -> dict[str, Any]:
    return {
        "id": trigger.id,
        "user_id": trigger.user,
        "name": trigger.definition.name,
        "definition": orjson.dumps(trigger.definition.to_json()).decode(),
        "version": trigger.version,
        "token_hash": trigger.token_hash,
        "secrets": orjson.dumps(trigger.secrets).decode(),
        "counters": orjson.dumps(trigger.counters).decode(),
        "created_at": trigger.created_at,
        "updated_at": trigger.updated_at,
    }
