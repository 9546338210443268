"""Macros of variables: each in a local form (`setvar`) and a global one (`setglobalvar`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from innkeeper.nodes.tavern.macros import variables
from innkeeper.nodes.tavern.macros.definitions import Call, Macro
from innkeeper.nodes.tavern.macros.environment import MacroEnvironment, Variables

Scope = Callable[[MacroEnvironment], Variables]
Action = Callable[[Variables, Call], str | None]


def _set_variable(store: Variables, call: Call) -> str:
    store[call.argument(0)] = call.argument(1)
    return ""


def _add(store: Variables, call: Call) -> str:
    call.resolver.spend(len(variables.add(store, call.argument(0), call.argument(1))))
    return ""


def _step_by(step: int) -> Action:
    def count(store: Variables, call: Call) -> str:
        text = variables.add(store, call.argument(0), step)
        call.resolver.spend(len(text))
        return text

    return count


def _has(store: Variables, call: Call) -> str:
    return "true" if variables.has(store, call.argument(0)) else "false"


def _delete(store: Variables, call: Call) -> str:
    store.pop(call.argument(0), None)
    return ""


def _get_key(store: Variables, call: Call) -> str:
    call.resolver.spend(len(variables.value_text(store.get(call.argument(0)))))  # all of it is read
    return variables.get_key(store, call.argument(0), call.argument(1))


def _set_key(store: Variables, call: Call) -> str:
    variables.set_key(store, *call.arguments)
    call.resolver.spend(len(variables.value_text(store.get(call.argument(0)))))
    return ""


def _unless_nameless(action: Action) -> Action:
    """A variable without a name is none: the macro stays as it is written."""
    return lambda store, call: action(store, call) if call.argument(0) else None


_ACTIONS: dict[str, tuple[Action, int]] = {
    "set{}var": (_unless_nameless(_set_variable), 2),
    "get{}var": (lambda store, call: variables.get(store, call.argument(0)), 1),
    "add{}var": (_unless_nameless(_add), 2),
    "inc{}var": (_unless_nameless(_step_by(1)), 1),
    "dec{}var": (_unless_nameless(_step_by(-1)), 1),
    "has{}var": (_has, 1),
    "{}varexists": (_has, 1),
    "delete{}var": (_delete, 1),
    "flush{}var": (_delete, 1),
    "get{}varkey": (_get_key, 2),
    "get{}varindex": (_get_key, 2),
    "set{}varkey": (_unless_nameless(_set_key), 3),
    "set{}varindex": (_unless_nameless(_set_key), 3),
}


def _macro(action: Action, count: int, scope: Scope) -> Macro:
    return Macro(lambda call: action(scope(call.environment), call), count, count)


def _macros() -> Iterator[tuple[str, Macro]]:
    for name, (action, count) in _ACTIONS.items():
        yield name.format(""), _macro(action, count, lambda environment: environment.local)
        yield name.format("global"), _macro(action, count, lambda environment: environment.global_)


MACROS: dict[str, Macro] = dict(_macros())
