"""The definition of a trigger in a file, YAML or JSON, with the sources of its secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from innkeeper.gateway.cli.run_command import UsageError
from innkeeper.gateway.cli.secret_sources import SecretSource
from innkeeper.nodes.json_values import InvalidJson, read_json
from innkeeper.nodes.yaml_tree import MAX_BYTES, InvalidFile, LineProblem, YamlTree, inside, read_yaml

SECRETS = "secrets"
CALLBACK, SECRET = "callback", "secret"
MAX_SECRETS = 2
_SOURCES = "'secrets' is a list of {env: NAME} or {file: PATH}"


@dataclass(frozen=True)
class DefinitionFile:
    """A definition without its secrets, and where they are. `tree` knows the lines, where the file has some.

    Attributes:
        callback_secret: Of `callback`; None where it has none, or the reference of a stored one.
    """

    tree: YamlTree
    definition: dict[str, Any]
    secrets: tuple[SecretSource, ...]
    callback_secret: SecretSource | None = None

    def whole(self) -> dict[str, Any]:
        """The definition with the secret of its callback. Raises UsageError: that cannot be read."""
        if self.callback_secret is None:
            return self.definition
        callback = {**self.definition[CALLBACK], SECRET: self.callback_secret.read()}
        return {**self.definition, CALLBACK: callback}


def read_tree(file: Path) -> YamlTree:
    """A file as data: JSON by its ending, else YAML. Problems of JSON have a line, its parts have none.

    Raises:
        UsageError: It cannot be read.
        InvalidFile.
    """
    name = str(file)
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"cannot read {name!r} ({reason}): check the path") from error
    if file.suffix != ".json" or len(data) > MAX_BYTES:
        return read_yaml(name, data)
    try:
        return YamlTree(name, read_json(data))
    except InvalidJson as error:
        line = error.position[0] if error.position else 0
        raise InvalidFile(name, [LineProblem(line, error.reason)]) from None


def read_definition(file: Path) -> DefinitionFile:
    """Raises UsageError, InvalidFile: it is no object, or its secrets are not given by sources."""
    tree = read_tree(file)
    if not isinstance(tree.value, dict):
        raise InvalidFile(tree.name, [LineProblem(1, "it must hold one object: the definition of a trigger")])
    problems: list[LineProblem] = []
    secrets = tuple(secrets_in(tree, "", tree.value, problems))
    callback_secret = callback_secret_in(tree, "", tree.value, problems)
    if problems:
        raise InvalidFile(tree.name, problems)
    return DefinitionFile(tree, without_secrets(tree.value), secrets, callback_secret)


def without_secrets(definition: Mapping[str, Any]) -> dict[str, Any]:
    """What is left when the sources of secrets are taken out."""
    left = {key: value for key, value in definition.items() if key != SECRETS}
    callback = left.get(CALLBACK)
    if isinstance(callback, Mapping) and not _is_stored(callback.get(SECRET)):
        left[CALLBACK] = {key: value for key, value in callback.items() if key != SECRET}
    return left


def callback_secret_in(
    tree: YamlTree, path: str, definition: Mapping[str, Any], problems: list[LineProblem]
) -> SecretSource | None:
    """Where the secret of a callback is; a stored one (`$secret:id`) stays where it stands."""
    callback = definition.get(CALLBACK)
    given = callback.get(SECRET) if isinstance(callback, Mapping) else None
    if given is None or _is_stored(given):
        return None
    source = _source(tree, given)
    if source is None:
        place = inside(inside(path, CALLBACK), SECRET)
        problems.append(tree.problem(place, "'secret' of a callback is {env: NAME} or {file: PATH}"))
    return source


def _is_stored(secret: Any) -> bool:
    return isinstance(secret, str) and secret.startswith("$secret:")


def _source(tree: YamlTree, item: Any) -> SecretSource | None:
    match item:
        case {"env": str(name)} if len(item) == 1 and name:
            return SecretSource(env=name)
        case {"file": str(name)} if len(item) == 1 and name:
            return SecretSource(file=Path(tree.name).parent / name)
    return None


def secrets_in(
    tree: YamlTree, path: str, definition: Mapping[str, Any], problems: list[LineProblem]
) -> Iterator[SecretSource]:
    """Where the secrets of a definition are; paths of files are relative to the file that names them.

    Args:
        path: Of the definition in the file.
        problems: Gets what is wrong.
    """
    given = definition.get(SECRETS)
    place = inside(path, SECRETS)
    if not isinstance(given, list | None) or len(given or ()) > MAX_SECRETS:
        problems.append(tree.problem(place, f"{_SOURCES}, at most {MAX_SECRETS}"))
        return
    for index, item in enumerate(given or ()):
        source = _source(tree, item)
        if source is None:
            problems.append(tree.problem(inside(place, index), f"{_SOURCES}; nothing else may stand here"))
        else:
            yield source
