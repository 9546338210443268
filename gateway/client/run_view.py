"""The state of a run as its events tell it, for programs that watch one."""

from innkeeper.gateway.moments import from_iso as from_iso
from innkeeper.gateway.runs.view import INTERFACE_NODE as INTERFACE_NODE
from innkeeper.gateway.runs.view import TERMINAL_TYPES as TERMINAL_TYPES
from innkeeper.gateway.runs.view import RunView as RunView
from innkeeper.gateway.runs.view import apply as apply
