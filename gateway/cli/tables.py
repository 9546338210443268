"""Tables of the command line."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from innkeeper.gateway.cli.live_view import ICONS, PENDING, clean
from innkeeper.gateway.cli.run_tree import error_lines, retry_words, wait_words, warning_lines
from innkeeper.gateway.cli.trigger_words import starts_when, target_of
from innkeeper.nodes.errors import Problem

if TYPE_CHECKING:
    from innkeeper.gateway.cli.channels_command import ChannelState
    from innkeeper.nodes.services.channel_file import FileProblem
    from innkeeper.nodes.services.channels import Channel, Model, ModelGroup, ModelTraits


WIDE = 90
"""Columns of a terminal that has room for whole ids and moments."""
SHORT_ID = 10
OUTCOME_STYLES = {"fired": "green", "queued": "green", "refused": "red", "failed": "red"}


def problems_table(problems: Sequence[Problem]) -> Table:
    """What is wrong with a document, errors first."""
    table = _table("", "code", "where", "problem")
    for problem in sorted(problems, key=lambda item: item.level != "error"):
        mark = Text("error", "red") if problem.level == "error" else Text("warning", "yellow")
        table.add_row(mark, problem.code, _cell(_place(problem)), _cell(problem.message))
    return table


def _place(problem: Problem) -> str:
    parts = (("node", problem.node), ("slot", problem.slot), ("edge", problem.edge))
    return ", ".join(f"{name} {value}" for name, value in parts if value is not None)


def nodes_table(nodes: Iterable[Mapping[str, Any]]) -> Table:
    """Node types, as `GET /api/nodes` gives them. Two columns: what a slot is called is told by `nodes TYPE`."""
    table = _table("type", "what it does")
    table.columns[1].no_wrap = False
    for node in nodes:
        table.add_row(_cell(node.get("fullType")), _cell(node.get("description") or node.get("displayName")))
    return table


def runs_table(runs: Iterable[Mapping[str, Any]], width: int = WIDE) -> Table:
    """Runs, as the gateway lists them. On a narrow terminal an id is shown by its beginning, which commands take too,
    and a moment without its year."""
    table = _table("run", "status", "workflow", "submitted", "took")
    for number in (3, 4):
        table.columns[number].no_wrap = True
    for run in runs:
        name = run.get("workflowName") or run.get("workflowId") or ""
        duration = run.get("durationMs")
        took = f"{duration / 1000:.1f} s" if isinstance(duration, int | float) else ""
        status = str(run.get("status", ""))
        style = ICONS.get(status, ("", ""))[1]
        moment, id = _local_time(run.get("submittedAt")), str(run.get("promptId"))
        if width < WIDE:
            moment, id = moment[5:16], id[:SHORT_ID]
        table.add_row(_cell(id), Text(status, style), _cell(name), moment, took)
    return table


def files_table(files: Iterable[Mapping[str, Any]]) -> Table:
    """Files, as the gateway lists them."""
    table = _table("path", "bytes", "modified")
    for file in files:
        table.add_row(_cell(file.get("path")), f"{file.get('size', 0):,}", _local_time(file.get("modifiedAt")))
    return table


def workflows_table(workflows: Iterable[Mapping[str, Any]]) -> Table:
    """Stored workflows, as the gateway lists them. Those in the bin tell when they went there."""
    table = _table("id", "project", "version", "published", "name", "changed")
    for found in workflows:
        version = Text(str(found.get("version")))
        if not found.get("valid"):
            version += Text(" cannot run", "yellow")
        published = found.get("published")
        moment = _local_time(found.get("deletedAt") or found.get("updatedAt"))
        texts = (_cell(found.get("id")), _cell(found.get("projectId")), version, _cell(published))
        table.add_row(*texts, _cell(found.get("name")), moment)
    return table


def versions_table(versions: Iterable[Mapping[str, Any]]) -> Table:
    """Versions of a stored workflow."""
    table = _table("version", "saved", "author", "state", "note")
    for found in versions:
        state = Text("published", "green") if found.get("published") else Text()
        if not found.get("valid"):
            state = Text("cannot run", "yellow")
        version, author = _cell(found.get("version")), _cell(found.get("author"))
        table.add_row(version, _local_time(found.get("savedAt")), author, state, _cell(found.get("note")))
    return table


def triggers_table(triggers: Iterable[Mapping[str, Any]]) -> Table:
    """Triggers, as the gateway lists them."""
    table = _table("name", "kind", "when", "starts", "state")
    for found in triggers:
        state = Text("enabled", "green") if found.get("enabled") else Text("disabled", "yellow")
        texts = (found.get("name"), found.get("kind"), starts_when(found), target_of(found))
        table.add_row(*map(_cell, texts), state)
    return table


def results_table(results: Iterable[Mapping[str, Any]], *, head: bool = True) -> Table:
    """What became of deliveries, as the gateway lists it."""
    table = _table("time", "outcome", "run", "reason")
    table.show_header = head
    for found in results:
        outcome = str(found.get("outcome", ""))
        style = OUTCOME_STYLES.get(outcome, "")
        moment = _local_time(found.get("at"))
        table.add_row(moment, Text(outcome, style), _cell(found.get("runId")), _cell(found.get("reason")))
    return table


def channels_table(states: Iterable[ChannelState]) -> Table:
    """The channels of the operator; what is long stands in lines below each other, for narrow terminals."""
    table = _table("channel", "address", "state")
    for state in states:
        channel = state.channel
        table.add_row(_cell(channel.id), _cell(channel.base_url), Text("\n").join(_channel_lines(state)))
    return table


def _channel_lines(state: ChannelState) -> Iterable[Text]:
    channel = state.channel
    use = Text("disabled", "yellow") if channel.disabled else Text("enabled", "green")
    yield use + _cell(f", {channel.adapter_type}")
    if owner := getattr(channel, "owner", ""):
        yield _cell(f"made by {owner}")
    yield _cell(f"models: {', '.join(channel.supported_models) or 'all'}")
    yield from (_cell(line) for line in _traits_lines(channel))
    yield from (
        _cell(f"{name}: {line}") for name, special in channel.per_model.items() for line in _traits_lines(special)
    )
    yield Text("key: ") + _cell(state.key, "" if state.key in ("set", "none") else "red")
    if state.server:
        yield Text("server: ") + _cell(state.server, "" if state.is_reached else "red")


def _traits_lines(part: Channel | ModelTraits) -> Iterable[str]:
    """How a channel or a model differs, and what its limits are, in words."""
    amounts = part.limits.model_dump(by_alias=True, exclude_defaults=True) if part.limits else {}
    if amounts:
        yield "limits: " + ", ".join(
            name if amount is True else f"{name} {amount:,}" for name, amount in amounts.items()
        )
    told = {"prefix": part.prefix, "structuredOutput": part.structured_output, "thinkTags": part.think_tags}
    words = [f"{name} {str(value).lower()}" for name, value in told.items() if value not in (None, "none", False)]
    parameters = part.parameters
    if parameters:
        words += [f"{old} is {new}" for old, new in (parameters.rename or {}).items()]
        words += [f"no {name}" for name in parameters.drop or ()]
        words += [f"{name} by default" for name in parameters.defaults or ()]
    words += [f"header {name}" for name in part.headers or ()] + [f"query {name}" for name in part.query or ()]
    if words:
        yield "differs: " + ", ".join(words)


def groups_lines(groups: Iterable[ModelGroup]) -> Iterable[str]:
    """The groups of models, a line each."""
    return (f"group {group.id!r} ({group.strategy}): {', '.join(group.models)}" for group in groups)


def channel_test_table(found: Mapping[str, Any]) -> Table:
    """What a test of a channel has shown."""
    table = Table(box=None, show_header=False, pad_edge=False)
    usage, cost, error = found.get("usage") or {}, found.get("cost"), found.get("error") or {}
    state = Text("it answers", "green") if found["ok"] else Text("no answer", "red")
    table.add_row("channel", Text(f"{found['channel']}: ") + state)
    table.add_row("model", _cell(found["model"]))
    if not found["ok"]:
        table.add_row("error", _cell(f"{error.get('message') or 'the run has failed'} ({error.get('code')})"))
        return table
    table.add_row("answered by", _cell(found.get("answeredBy") or "it does not say"))
    table.add_row("first piece", _milliseconds(found.get("firstMs")))
    table.add_row("whole answer", _milliseconds(found.get("wholeMs")))
    tokens = f"{usage.get('prompt_tokens', '?')} in, {usage.get('completion_tokens', '?')} out" if usage else "not told"
    table.add_row("tokens", _cell(tokens))
    table.add_row("cost", _cell(f"{cost['amount']} {cost['currency']}" if cost else "unknown"))
    for name, seen in found["capabilities"].items():
        table.add_row(_CAPABILITIES.get(name, name), _cell(seen))
    return table


_CAPABILITIES = {"stream": "in pieces", "toolCalls": "tool calls", "jsonSchema": "JSON by a schema"}


def _milliseconds(value: int | None) -> Text:
    return _cell("not seen" if value is None else f"{value:,} ms")


def models_table(models: Iterable[Model]) -> Table:
    """The models that can be chosen by what they can do."""
    table = _table("model", "name", "type", "capabilities", "tags", "default")
    for model in models:
        words = (model.model_id, model.display_name, model.model_type, ", ".join(sorted(model.offers)))
        table.add_row(*map(_cell, (*words, ", ".join(model.tags), "yes" if model.default else "")))
    return table


def file_problems_table(problems: Iterable[FileProblem]) -> Table:
    """What is wrong with a file, errors first."""
    table = _table("", "line", "problem")
    for problem in problems:
        mark = Text("error", "red") if problem.level == "error" else Text("warning", "yellow")
        table.add_row(mark, str(problem.line or ""), _cell(problem.message))
    return table


def node_states_table(nodes: Mapping[str, Mapping[str, Any]], *, trace: bool = False) -> Table:
    """The nodes of one run. `trace`: with the way through the code that led to an error."""
    table = _table("", "node", "status", "attempts", "reason")
    for path, state in nodes.items():
        status = str(state.get("status", PENDING))
        icon, style = ICONS.get(status, ("?", ""))
        error = state.get("error")
        message = error.get("message", "") if isinstance(error, Mapping) else error or state.get("reason") or ""
        if isinstance(wait := state.get("wait"), Mapping):
            message = wait_words(wait)
        message = retry_words(state) or message
        places = map(_cell, error_lines(state, trace=trace))
        lines = Text("\n").join([*([_cell(message)] if message else []), *places, *_warnings(state)])
        table.add_row(Text(icon, style), _cell(path), status, _cell(state.get("attempts", "")), lines)
    return table


def _warnings(state: Mapping[str, Any]) -> Iterable[Text]:
    return (_cell(line, "yellow") for line in warning_lines(state))


def collected_line(found: Mapping[str, Any]) -> str:
    """What a collection did, or would do, in a sentence."""
    would = "would delete" if found.get("dryRun") else "deleted"
    gone = f"{would} {found.get('deleted', 0):,} values ({found.get('deletedBytes', 0) / 1e6:,.1f} MB)"
    stays = f"{found.get('kept', 0):,} ({found.get('keptBytes', 0) / 1e6:,.1f} MB) stay"
    left = found.get("temporaries")
    return f"{gone}; {stays}" + (f"; {left:,} unfinished files deleted" if left else "")


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        # The first two are names that people copy: never broken over lines.
        table.add_column(column, overflow="fold", no_wrap=number < 2)
    return table


def _cell(value: Any, style: str = "") -> Text:
    # Never as markup: names and messages may hold square brackets.
    return Text(clean(str(value if value is not None else "")), style)


def _local_time(moment: Any) -> str:
    """A moment of the gateway (ISO 8601 or milliseconds since 1970) on the clock of this machine."""
    try:
        if isinstance(moment, int | float):
            found = datetime.datetime.fromtimestamp(moment / 1000)
        else:
            found = datetime.datetime.fromisoformat(str(moment)).astimezone()
    except (ValueError, OverflowError):
        return ""
    return found.strftime("%Y-%m-%d %H:%M:%S")
