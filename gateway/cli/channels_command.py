"""`innkeeper channels`: what the operator's file says, whether its keys are there, and whether the servers answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from innkeeper.nodes.errors import InnkeeperError, ResourceError
from innkeeper.nodes.hosts import is_demo_model
from innkeeper.nodes.model_protocols import BUILT_IN_ADAPTERS
from innkeeper.nodes.process.redaction import MASK
from innkeeper.nodes.services.channel_book import key_of, read_channel_file
from innkeeper.nodes.services.channel_file import CHANNELS_FILE, ChannelFile, FileProblem
from innkeeper.nodes.services.channels import Channel, ChannelConfig, Model, ModelGroup
from innkeeper.nodes.services.header_text import unsendable_at
from innkeeper.nodes.services.ownership import PRIVATE, mark_own
from innkeeper.nodes.services.secrets import KEY_FILE, KEY_VARIABLE, OPERATOR, SecretStore, load_or_create_key
from innkeeper.nodes.services.user_channels import USER_CHANNELS_FILE, UserEntries, read_user_channels

if TYPE_CHECKING:
    from innkeeper.nodes.services.llm.registry import OfferedAdapter

MAX_PLAIN_KEY = 1_000


@dataclass(frozen=True)
class ChannelState:
    """A channel, its key (`set`, `none`, or what is the matter with it), and what its server says.

    `is_reached` is False when its server was asked and gave no list of models.
    """

    channel: Channel
    key: str
    server: str = ""
    is_reached: bool = True

    def to_json(self) -> dict[str, Any]:
        data = self.channel.model_dump(mode="json", by_alias=True, exclude={"api_key"}, exclude_none=True)
        # Values of headers may be keys of some kind.
        for traits in (data, *data.get("perModel", {}).values()):
            if "headers" in traits:
                traits["headers"] = dict.fromkeys(traits["headers"], MASK)
        return {**data, "key": self.key, **({"server": self.server} if self.server else {})}


@dataclass(frozen=True)
class ChannelReport:
    """What is known of `<data>/channels.yaml`, and of the channels that users have made. A file with an error has no
    channels: none of them is used."""

    file: Path
    exists: bool
    channels: tuple[ChannelState, ...]
    models: tuple[Model, ...]
    problems: tuple[FileProblem, ...]
    groups: tuple[ModelGroup, ...] = ()

    @property
    def is_usable(self) -> bool:
        return not any(problem.level == "error" for problem in self.problems)

    @property
    def is_reached(self) -> bool:
        return all(state.is_reached for state in self.channels)

    def to_json(self) -> dict[str, Any]:
        return {
            "file": str(self.file),
            "exists": self.exists,
            "usable": self.is_usable,
            "channels": [state.to_json() for state in self.channels],
            "models": [
                {**model.model_dump(mode="json", by_alias=True), "capabilities": sorted(model.offers)}
                for model in self.models
            ],
            "modelGroups": [group.model_dump(mode="json", by_alias=True) for group in self.groups],
            "problems": [
                {"line": problem.line, "level": problem.level, "message": problem.message} for problem in self.problems
            ],
        }


def report_channels(
    data_dir: Path, environ: Mapping[str, str], plugins: Sequence[OfferedAdapter] = ()
) -> ChannelReport:
    """Read the file. Keys are looked for here; a worker that runs elsewhere has an environment of its own.

    Args:
        plugins: Protocols that plugins offer.
    """
    file = data_dir / CHANNELS_FILE
    content: ChannelFile = read_channel_file(file, (*BUILT_IN_ADAPTERS, *(adapter.name for adapter in plugins)))
    config = content.config or ChannelConfig()
    problems = content.problems
    try:
        entries = read_user_channels(data_dir / USER_CHANNELS_FILE)
    except ResourceError as error:
        entries, problems = UserEntries(), (*problems, FileProblem(0, error.message, "warning"))
    # Those of all users: the operator looks.
    channels = (*config.channels, *entries.channels) if content.config else ()
    models = (*config.models, *entries.models) if content.config else ()
    states = tuple(ChannelState(channel, _key_state(channel, data_dir, environ)) for channel in channels)
    return ChannelReport(file, file.exists(), states, models, problems, config.model_groups)


def ask_servers(
    report: ChannelReport, data_dir: Path, environ: Mapping[str, str], plugins: Sequence[OfferedAdapter] = ()
) -> ChannelReport:
    """The report, with what the server of each enabled channel says when it is asked for its models."""
    return asyncio.run(_ask_servers(report, data_dir, environ, plugins))


def store_key(value: str, data_dir: Path, environ: Mapping[str, str]) -> str:
    """Store a key, encrypted; gives the line that names it in the file.

    Raises:
        ResourceError: There is none, it is no key, or the disk refuses.
    """
    key = value.strip()
    if not key or len(key) > MAX_PLAIN_KEY or unsendable_at(key) is not None or " " in key:
        raise ResourceError("this is no key: one is a single word of plain characters", code="invalid_key")
    data_dir.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    mark_own(data_dir)
    ref = _store(data_dir, environ).put(key, OPERATOR)
    return f'apiKey: {{$secret: "{ref.id}"}}'


def _key_state(channel: Channel, data_dir: Path, environ: Mapping[str, str]) -> str:
    """`set`, `none`, or what is the matter."""
    if channel.api_key is None:
        return "none"
    try:
        return "set" if _key(channel, data_dir, environ) else "none"
    except ResourceError as error:
        return error.message


def _key(channel: Channel, data_dir: Path, environ: Mapping[str, str]) -> str:
    # Looking must not make a store, and a key for it, where there is none.
    has_store = bool(environ.get(KEY_VARIABLE)) or (data_dir / KEY_FILE).exists()
    return key_of(channel, _store(data_dir, environ) if has_store else None, environ)


def _store(data_dir: Path, environ: Mapping[str, str]) -> SecretStore:
    return SecretStore(data_dir / "secrets", load_or_create_key(data_dir, environ))


async def _ask_servers(
    report: ChannelReport, data_dir: Path, environ: Mapping[str, str], plugins: Sequence[OfferedAdapter]
) -> ChannelReport:
    asked = (_server_state(state.channel, data_dir, environ, plugins) for state in report.channels)
    answers = await asyncio.gather(*asked)
    states = tuple(
        replace(state, server=told, is_reached=reached)
        for state, (told, reached) in zip(report.channels, answers, strict=True)
    )
    return replace(report, channels=states)


async def _server_state(
    channel: Channel, data_dir: Path, environ: Mapping[str, str], plugins: Sequence[OfferedAdapter]
) -> tuple[str, bool]:
    """What its server says, and False when it was asked in vain."""
    # Loaded here: client libraries take most of a second, and only this question needs them.
    from innkeeper.nodes.services.http import AddressPolicy
    from innkeeper.nodes.services.llm.model_lists import models_of, network_of

    if channel.disabled:
        return "not asked: disabled", True
    if is_demo_model(channel.base_url):
        return "not asked: the gateway has it", True
    policy = AddressPolicy(allowed_hosts=frozenset({channel.connects_to}))
    try:
        key = _key(channel, data_dir, environ)
        models = await models_of(channel, key, policy, network_of(environ), plugins=lambda: plugins)
    except InnkeeperError as error:
        return error.message, False
    return f"{len(models)} models", True
