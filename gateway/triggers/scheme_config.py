"""What a user chooses of a scheme, checked before a trigger is enabled."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from innkeeper.gateway.triggers.schemes import (
    DEFAULT_TOLERANCE_S,
    FIXED_SCHEMES,
    PLACEHOLDERS,
    Algorithm,
    Encoding,
    HeaderNames,
    Scheme,
    SchemeName,
    template_parts,
)
from innkeeper.gateway.triggers.secret_keys import InvalidSecret, read_secret

MAX_SECRETS = 10
MAX_TOLERANCE_S = 86_400


def _matching(pattern: str, complaint: str) -> AfterValidator:
    """Like a pattern of pydantic, with a message for people."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(complaint)
        return text

    return AfterValidator(check)


HeaderName = Annotated[
    str,
    _matching(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", "must be the name of a header, without colon and spaces"),
    AfterValidator(str.lower),
]
Prefix = Annotated[str, _matching(r"[\x20-\x7e]{0,64}", "must be at most 64 printable ASCII characters")]
Template = Annotated[str, _matching(r"[\x20-\x7e]{1,200}", "must be 1 to 200 printable ASCII characters")]


class InvalidSchemeConfig(ValueError):
    """A scheme is unknown or its configuration wrong. `problems` holds all that was found."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class FixedConfig(_Config):
    """Nothing is to be chosen: the sender's documentation says it all."""


class OpenConfig(_Config):
    """For `none` and `basic`."""

    delivery_id_header: HeaderName | None = None


class TokenConfig(OpenConfig):
    header: HeaderName
    prefix: Prefix = ""

    @model_validator(mode="after")
    def _check(self) -> TokenConfig:
        _check_distinct(self.header, self.delivery_id_header)
        return self


class GenericConfig(TokenConfig):
    """Any sender that signs with an HMAC.

    Attributes:
        template: The signed bytes, of `{id}`, `{ts}` and `{body}`.
        tolerance_s: None for no bound. Without a signed time there is none.
    """

    template: Template = "{body}"
    algorithm: Algorithm = "sha256"
    encoding: Encoding = "hex"
    timestamp_header: HeaderName | None = None
    timestamp_unit: Literal["s", "ms"] = "s"
    tolerance_s: Annotated[int, Field(ge=1, le=MAX_TOLERANCE_S)] | None = DEFAULT_TOLERANCE_S

    @model_validator(mode="after")
    def _check_generic(self) -> GenericConfig:
        _check_distinct(self.header, self.timestamp_header, self.delivery_id_header)
        _check_template(self.template)
        # A time that is not signed can be set to now by anybody: it would only look like a protection.
        if (self.timestamp_header is None) == ("{ts}" in self.template):
            raise ValueError("give 'timestamp_header' and '{ts}' in 'template' both, or neither")
        if self.delivery_id_header is None and "{id}" in self.template:
            raise ValueError("'{id}' in 'template' needs 'delivery_id_header'")
        return self


def _check_distinct(*names: str | None) -> None:
    given = [name for name in names if name is not None]
    if len(set(given)) < len(given):
        raise ValueError("each header can be used once")


def _check_template(template: str) -> None:
    parts = template_parts(template)
    if "{body}" not in parts:
        raise ValueError("'template' must hold '{body}': else the body is not signed")
    if any(parts.count(placeholder) > 1 for placeholder in PLACEHOLDERS):
        raise ValueError("'template' holds a placeholder twice")
    if re.search(r"[{}]", "".join(part for part in parts if part not in PLACEHOLDERS)):
        raise ValueError(f"'template' knows only {', '.join(PLACEHOLDERS)}")
    # Else one signed text could be cut in two ways: time 12 and body "3", or time 1 and body "23".
    if any(_touch(before, after) for before, after in pairwise(parts)):
        raise ValueError("'template' needs a separator without digits between placeholders")


def _touch(before: str, after: str) -> bool:
    if before in PLACEHOLDERS and after in PLACEHOLDERS:
        return True
    return (before == "{ts}" and after[0].isdigit()) or (after == "{ts}" and before[-1].isdigit())


_CONFIGS: Mapping[SchemeName, type[_Config]] = {
    **dict.fromkeys(get_args(SchemeName), FixedConfig),
    "generic": GenericConfig,
    "token": TokenConfig,
    "basic": OpenConfig,
    "none": OpenConfig,
}


def load_scheme(name: str, config: Mapping[str, object]) -> Scheme:
    """The scheme of a name, with what a user chose of it.

    Raises:
        InvalidSchemeConfig: The name is unknown, or the configuration is wrong.
    """
    model = next((model for known, model in _CONFIGS.items() if known == name), None)
    if model is None:
        raise InvalidSchemeConfig([f"scheme {name!r} is unknown; schemes are {', '.join(_CONFIGS)}"])
    try:
        return _scheme(name, model.model_validate(dict(config)))
    except ValidationError as error:
        raise InvalidSchemeConfig([_problem(name, dict(item)) for item in error.errors()]) from None


def _scheme(name: str, config: _Config) -> Scheme:
    match config:
        case GenericConfig():
            names = HeaderNames(config.header, config.timestamp_header, config.delivery_id_header)
            chosen = config.model_dump(
                include={"prefix", "template", "algorithm", "encoding", "timestamp_unit", "tolerance_s"}
            )
            return Scheme("generic", headers=(names,), **chosen)
        case TokenConfig():
            names = HeaderNames(config.header, delivery_id=config.delivery_id_header)
            return Scheme("token", "token", (names,), prefix=config.prefix)
        case OpenConfig() if name == "basic":
            names = HeaderNames("authorization", delivery_id=config.delivery_id_header)
            return Scheme("basic", "basic", (names,), secret_form="basic")
        case OpenConfig():
            return Scheme("none", "none", (HeaderNames(delivery_id=config.delivery_id_header),))
    return FIXED_SCHEMES[name]


def _problem(scheme: str, item: Mapping[str, object]) -> str:
    path = item["loc"]
    place = ".".join(str(part) for part in path) if isinstance(path, tuple) else ""
    text = str(item["msg"]).removeprefix("Value error, ")
    return f"scheme {scheme!r}: {place + ': ' if place else ''}{text}"


def check_config(name: str, config: Mapping[str, object], secrets: Sequence[str]) -> tuple[str, ...]:
    """Why a trigger with this scheme must not be enabled; nothing when it may. No message holds a secret.

    A scheme that checks something needs a secret: without one, it refuses instead of checking nothing.
    """
    try:
        scheme = load_scheme(name, config)
    except InvalidSchemeConfig as error:
        return error.problems
    if scheme.proof == "none":
        return ("scheme 'none' checks no secret; remove the secrets or choose another scheme",) if secrets else ()
    if not secrets:
        return (f"scheme {name!r} needs a secret; add one, or choose 'none' to accept requests from anybody",)
    if len(secrets) > MAX_SECRETS:
        return (f"a trigger has at most {MAX_SECRETS} secrets",)
    return tuple(_secret_problems(scheme, secrets))


def _secret_problems(scheme: Scheme, secrets: Sequence[str]) -> list[str]:
    problems = []
    for number, secret in enumerate(secrets, 1):
        try:
            read_secret(scheme.secret_form, secret)
        except InvalidSecret as error:
            problems.append(f"scheme {scheme.name!r}: secret {number} {error}")
    return problems
