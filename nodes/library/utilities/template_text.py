"""Fills in a template of Jinja's sandbox; called in the process of `services.scripts`."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.library.utilities.text import to_text

if TYPE_CHECKING:
    from jinja2 import Environment, StrictUndefined, Template

MAX_TEMPLATE_CHARS = 1_000_000
MAX_TEXT_CHARS = 8_000_000
_NAME = "<template>"
_MAX_REASON = 200


def render(source: str, values: Mapping[str, Any], seed: int) -> str:
    """The text of a template. `seed` makes the filter `random` pick the same whenever the node runs again.

    Raises:
        NodeInputError: `template_error` with `{"line"}` in its details, where one is known.
    """
    if len(source) > MAX_TEMPLATE_CHARS:
        raise _template_error(f"it is longer than {MAX_TEMPLATE_CHARS} characters")
    return _filled(_compiled(_environment(seed, source), source), values)


def _environment(seed: int, source: str) -> Environment:
    # The library is loaded by those who use it: a worker loads this file with all nodes.
    from jinja2 import DictLoader
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        loader=DictLoader({}), undefined=_undefined(source), finalize=_written, keep_trailing_newline=True
    )
    del environment.globals["lipsum"]
    chooser = random.Random(seed)
    environment.filters["random"] = chooser.choice
    return environment


def _undefined(source: str) -> type[StrictUndefined]:
    """What stands for a missing value. Its error repeats a name only if the template says it: others are values."""
    from jinja2 import StrictUndefined

    class Missing(StrictUndefined):
        @property
        def _undefined_message(self) -> str:
            name = self._undefined_name
            if self._undefined_hint or (isinstance(name, str) and name in source):
                return super()._undefined_message
            return "an item or attribute is not there"

    return Missing


def _written(value: Any) -> Any:
    from jinja2 import Undefined
    from markupsafe import Markup

    # These two have words of their own: an error, and a text that is escaped.
    return value if isinstance(value, Undefined | Markup) else to_text(value)


def _compiled(environment: Environment, source: str) -> Template:
    from jinja2 import TemplateSyntaxError

    # What can be computed without values is computed here already.
    try:
        return environment.template_class.from_code(
            environment, environment.compile(source, filename=_NAME), environment.make_globals(None)
        )
    except TemplateSyntaxError as error:
        raise _template_error(error.message or "it is not valid", error.lineno) from None
    except (MemoryError, RecursionError):
        raise
    except Exception as error:
        raise _template_error(f"{type(error).__name__} in an expression") from None


def _filled(template: Template, values: Mapping[str, Any]) -> str:
    from jinja2.exceptions import SecurityError, TemplateNotFound, UndefinedError

    try:
        return _bounded_text(template, values)
    except TemplateNotFound as error:
        raise _template_error(
            "it takes in another template, of which there are none", _line_of_template(error)
        ) from None
    except (UndefinedError, SecurityError) as error:
        raise _template_error(error.message or type(error).__name__, _line_of_template(error)) from None
    except (MemoryError, RecursionError, NodeInputError):
        raise
    except Exception as error:
        # Its words may quote the values; its kind does not.
        raise _template_error(f"{type(error).__name__} in an expression", _line_of_template(error)) from None


def _bounded_text(template: Template, values: Mapping[str, Any]) -> str:
    parts: list[str] = []
    size = 0
    for part in template.generate(values):
        size += len(part)
        if size > MAX_TEXT_CHARS:
            raise _template_error(f"its text is longer than {MAX_TEXT_CHARS} characters")
        parts.append(part)
    return "".join(parts)


def _line_of_template(error: Exception) -> int | None:
    """The line of the template an error comes from; Jinja puts it into the traceback."""
    found = None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == _NAME:
            found = trace.tb_lineno
        trace = trace.tb_next
    return found


def _template_error(reason: str, line: int | None = None) -> NodeInputError:
    place: Sequence[str] = ("template", f"line {line}") if line else ("template",)
    details = {"line": line} if line else None
    return NodeInputError(f"{', '.join(place)}: {reason[:_MAX_REASON]}", code="template_error", details=details)
