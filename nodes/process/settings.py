"""What gateway and worker settings have in common: read once, from arguments, then `INNKEEPER_*`, then the defaults.

A settings class derives from `ProcessSettings` and states its fields with `setting`, which holds the unit and the
bounds; the messages about wrong values and the tables of `innkeeper settings` and `docs/settings.md` come from there.
It lives in `nodes` because gateway and activities may import only that.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, Self, cast, get_args, get_origin

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from innkeeper.nodes.errors import InnkeeperError
from innkeeper.nodes.process.log_values import JsonValue
from innkeeper.nodes.process.redaction import MASK, Redactor
from innkeeper.nodes.process.variables import FALSE_WORDS, PREFIX, TRUE_WORDS

MAX_TEXT_CHARS = 4_096
MAX_SHOWN_CHARS = 100
_OWN_MESSAGE = "setting"


class SettingsError(InnkeeperError):
    """One or more settings cannot be used. The message names each variable, its value (never of a secret) and what
    is allowed."""

    code = "invalid_setting"


Source = Literal["argument", "environment", "default"]


@dataclass(frozen=True)
class SettingRow:
    """One setting as it is shown to people. `value` and `default` are JSON values, `***` for a secret that is set."""

    variable: str
    value: JsonValue
    source: Source
    default: JsonValue
    unit: str
    allowed: str
    meaning: str


@dataclass(frozen=True)
class _About:
    """What a field of a settings class states beside its type, see `setting`."""

    unit: str
    low: float | None
    high: float | None
    allowed: str
    variable: str | None
    empty_is_value: bool


def setting(
    default: Any,
    meaning: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    allowed: str = "",
    variable: str | None = None,
    empty_is_value: bool = False,
) -> Any:
    """A field of a settings class.

    Args:
        low, high: Bounds of a number, both inclusive.
        allowed: What is allowed, in words, where the type does not say it.
        variable: The environment variable without its prefix, where it is not the field's name in capitals.
        empty_is_value: An empty variable is a value, not "not given".
    """
    about = _About(unit, low, high, allowed, variable, empty_is_value)
    return Field(default, description=meaning, ge=low, le=high, json_schema_extra=asdict(about))


def own_message(text: str) -> PydanticCustomError:
    """An error for a validator to raise whose text is told as it is."""
    return PydanticCustomError(_OWN_MESSAGE, "{text}", {"text": text})


def _whole(value: object) -> object:
    """`1e6` and `16.0` are whole numbers, too."""
    if not isinstance(value, str):
        return value
    try:
        return int(value)
    except ValueError:
        number = float(value)
        if not number.is_integer():
            raise ValueError("not a whole number") from None
        return int(number)


def _number(value: object) -> object:
    number = float(value) if isinstance(value, str) else value
    if isinstance(number, float) and not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def _boolean(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.lower() in TRUE_WORDS + FALSE_WORDS:
        return value.lower() in TRUE_WORDS
    raise ValueError("neither true nor false")


def _separated(separator: str) -> BeforeValidator:
    def split(value: object) -> object:
        return tuple(filter(None, map(str.strip, value.split(separator)))) if isinstance(value, str) else value

    return BeforeValidator(split)


def _capitals(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


Whole = Annotated[int, BeforeValidator(_whole)]
Number = Annotated[float, BeforeValidator(_number)]
Flag = Annotated[bool, BeforeValidator(_boolean)]
Text = Annotated[str, Field(max_length=MAX_TEXT_CHARS)]
Names = Annotated[tuple[Text, ...], _separated(",")]
Folders = Annotated[tuple[Path, ...], _separated(os.pathsep)]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_capitals)]

_WORDS: dict[object, tuple[str, str]] = {
    int: ("a whole number", ""),
    float: ("a number", ""),
    bool: (f"true or false ({', '.join(TRUE_WORDS)}; {', '.join(FALSE_WORDS)})", ""),
    str: ("text", "texts separated by commas"),
    Path: ("a folder", f"folders separated by {os.pathsep!r}"),
    SecretStr: ("text", ""),
}
"""What a type takes: one value, several values."""


class ProcessSettings(BaseSettings):
    """Settings that gateway and worker share. An instance made directly has arguments and defaults, no environment.

    Raises:
        SettingsError: All values that cannot be used, in one message.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    temporal_address: Text | None = setting(
        None,
        "The Temporal server; with it `innkeeper up` starts none. Without it Temporal's own configuration is asked "
        "(`TEMPORAL_*`, its profile file).",
        allowed="`host:port`",
    )
    namespace: Text | None = setting(
        None, "The Temporal namespace. Without it the same configuration is asked, then `innkeeper` is taken."
    )
    temporal_embedded: Flag = setting(
        False, "Set by `innkeeper up` for its processes: the Temporal server is the one that it runs itself."
    )
    payload_encryption: Literal["auto", "on", "off"] = setting(
        "auto",
        "Encrypt what is given to Temporal with the keys of the data directory; `auto` does unless the server is the "
        "embedded one.",
    )
    worker_token: SecretStr | None = setting(
        None,
        "Workers show it to the gateway. Without it both read `worker.token` in the data directory, which the gateway "
        "makes.",
    )
    plugins: Folders = setting((), "Folders of plugins.")
    log_level: LogLevel = setting("INFO", "The least important lines that are logged.")
    log_format: Literal["json", "text", "auto"] = setting(
        "auto", "Form of log lines on standard error; `auto` is text on a terminal and JSON elsewhere."
    )

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            complaints = _complaints(type(self), error, values)
        else:
            return
        # Outside the handler: the pydantic error is not chained, for its input may be a secret.
        raise SettingsError(_sentence(complaints))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments only: `load` adds the environment it is given; no `.env` and no secrets file is ever read."""
        return (init_settings,)

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, **arguments: Any) -> Self:
        """Settings from keyword arguments (None: not given), then the environment, then the defaults."""
        values = EnvironmentSource(cls, os.environ if environ is None else environ)()
        return cls(**values | {name: value for name, value in arguments.items() if value is not None})

    def changed(self, **values: Any) -> Self:
        """The same settings with other values, checked like any."""
        return type(self)(**{**self.__dict__, **values})

    @property
    def encrypts_payloads(self) -> bool:
        """Whether what is given to Temporal is encrypted."""
        return self.payload_encryption == "on" or (self.payload_encryption == "auto" and not self.temporal_embedded)

    def rows(self, environ: Mapping[str, str]) -> list[SettingRow]:
        """Every setting with its value and where that came from; `environ` is what these were loaded from."""
        given = EnvironmentSource(type(self), environ)()
        rows = []
        for name, field in type(self).model_fields.items():
            variable = variable_of(name, field)
            row = SettingRow(
                variable=variable,
                value=_shown_value(getattr(self, name)),
                source="environment" if name in given else "default",
                default=_shown_value(field.default),
                unit=_about(field).unit,
                allowed=allowed(field),
                meaning=field.description or "",
            )
            rows.append(row)
        return rows


class EnvironmentSource(PydanticBaseSettingsSource):
    """Reads `INNKEEPER_*` of a mapping as text; the fields' types parse it. An empty text counts as not given."""

    def __init__(self, settings_cls: type[BaseSettings], environ: Mapping[str, str]) -> None:
        super().__init__(settings_cls)
        self._environ = environ

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[str | None, str, bool]:
        text = self._environ.get(variable_of(field_name, field))
        is_given = bool(text) or (text is not None and _about(field).empty_is_value)
        return text if is_given else None, field_name, False

    def __call__(self) -> dict[str, Any]:
        found = (self.get_field_value(field, name)[:2] for name, field in self.settings_cls.model_fields.items())
        return {name: text for text, name in found if text is not None}


def variables_of(settings: type[ProcessSettings]) -> frozenset[str]:
    """Names of the environment variables that a settings class reads."""
    return frozenset(variable_of(name, field) for name, field in settings.model_fields.items())


def variable_of(name: str, field: FieldInfo) -> str:
    """The environment variable of a field."""
    return f"{PREFIX}{_about(field).variable or name.upper()}"


def allowed(field: FieldInfo) -> str:
    """What a field takes, in words: its own, or those of its type with the bounds."""
    about, kind = _about(field), _core(field.annotation)
    if about.allowed:
        return about.allowed
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    if get_origin(kind) is tuple:
        return _WORDS[_core(get_args(kind)[0])][1]
    words = _WORDS[kind][0]
    return words if about.low is None else f"{words} between {about.low} and {about.high}"


def _about(field: FieldInfo) -> _About:
    extra = field.json_schema_extra
    assert isinstance(extra, dict), "fields of settings are made with setting()"
    return _About(**cast("dict[str, Any]", extra))


def _core(annotation: Any) -> Any:
    """The type without `Annotated` and `| None`."""
    if get_origin(annotation) is Annotated:
        return _core(get_args(annotation)[0])
    others = [item for item in get_args(annotation) if item is not NoneType]
    is_optional = len(others) == 1 and NoneType in get_args(annotation)
    return _core(others[0]) if is_optional else annotation


def _complaints(settings: type[ProcessSettings], error: ValidationError, values: Mapping[str, Any]) -> list[str]:
    """One clause per variable with a wrong value, in the order of the fields."""
    complaints = []
    for found in error.errors(include_url=False):
        name = str(found["loc"][0])
        field = settings.model_fields.get(name)
        if field is None:
            complaints.append(f"there is no setting {name!r}; there are {', '.join(settings.model_fields)}")
        elif found["type"] == _OWN_MESSAGE:
            complaints.append(found["msg"])
        else:
            shown = "" if _core(field.annotation) is SecretStr else f"={_shown(values.get(name))}"
            complaints.append(f"{variable_of(name, field)}{shown} is not allowed; it must be {allowed(field)}")
    return list(dict.fromkeys(complaints))


def _sentence(complaints: list[str]) -> str:
    if len(complaints) == 1:
        return complaints[0]
    return f"{len(complaints)} settings cannot be used: {' | '.join(complaints)}"


def _shown(value: object) -> str:
    """A value in a message: not its end when it is long, nor a password inside it."""
    text = repr(str(value) if isinstance(value, Path) else value)
    return Redactor()(text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}...")


def _shown_value(value: object) -> JsonValue:
    match value:
        case SecretStr():
            return MASK
        case None | bool() | int() | float():
            return value
        case tuple():
            return [_shown_value(item) for item in value]
        case _:
            return Redactor()(str(value))
