"""The callback of a trigger: its secret is stored before its definition is, and is never shown again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.gateway.runs.run_callbacks import keep_secrets, seal_callback
from innkeeper.gateway.triggers.reading import InvalidTrigger, TriggerProblem
from innkeeper.nodes.call import SECRET_TEXT
from innkeeper.nodes.errors import InvalidWorkflow
from innkeeper.nodes.services.secrets import SecretStore
from innkeeper.workflows.document.callback import complaints, read_callback


def with_stored_secret(raw: Mapping[str, Any], owner: str, secrets: SecretStore) -> Mapping[str, Any]:
    """Blocking. What a client sent as a trigger, the secret of its callback stored and replaced by `$secret:id`.

    Whatever else is wrong with the callback stays, for `read_trigger` to tell.

    Raises:
        InvalidTrigger: The secret cannot sign, or refers to none that the owner has for that host.
        ResourceError: It cannot be stored.
    """
    callback = raw.get("callback")
    if not isinstance(callback, Mapping) or callback.get("secret") is None or any(complaints(callback)):
        return raw
    # The address stays in the definition, which its owner reads and changes.
    place = read_callback({**callback, "url": callback["url"].partition("?")[0]})
    try:
        sealed = seal_callback(place, "trigger", owner, secrets)
    except InvalidWorkflow as error:
        problems = [TriggerProblem("callback.secret", problem.message) for problem in error.problems]
        raise InvalidTrigger(problems) from None
    keep_secrets([sealed], secrets)
    return {**raw, "callback": {**callback, "secret": SECRET_TEXT + sealed.callback.secret}}
