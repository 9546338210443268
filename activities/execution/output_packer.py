"""What a node gave, in the form in which it travels."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Mapping
from typing import Any

from innkeeper.activities.execution.attempt import Attempt
from innkeeper.activities.execution.stream import Collected
from innkeeper.activities.execution.values import OutputMask, Values
from innkeeper.nodes.call import NodeCall
from innkeeper.nodes.errors import InvalidNode
from innkeeper.nodes.json_values import whole_text
from innkeeper.nodes.services.masking import forms_of_all, mask


class OutputPacker:
    """Packs the outputs of nodes: large values are stored, secrets become references or are masked."""

    def __init__(self, values: Values) -> None:
        self._values = values

    async def pack(self, attempt: Attempt, given: Mapping[str, Any], collected: Collected) -> dict[str, Any]:
        """Batch outputs as `Values` packs them; a stream slot holds `{"text", "chunks"[, "items"]}`.

        What is no JSON but can be made so is changed, and the user is warned.

        Raises:
            InvalidNode: The node gave no mapping of texts, or a value that is no data.
        """
        call, forms = attempt.call, forms_of_all(attempt.secrets.revealed)
        masking, outputs = OutputMask(forms), dict[str, Any]()
        for name, value in _outputs_in(given):
            slot = mask(name, forms)
            if slot not in call.streams:
                seal, on_change = call.seal.get(slot, ()), _warning(attempt, slot)
                outputs[slot] = await self._values.pack(
                    slot, value, seal, attempt.secrets, masking=masking, on_change=on_change
                )
        for slot in call.streams:
            outputs[slot] = await self._pack_stream(slot, collected)
        attempt.note_masked(masking.masked)
        return outputs

    async def pack_interface(self, call: NodeCall, given: Mapping[str, Any]) -> dict[str, Any]:
        """Of core:GroupInput: values from outside as they came, and streams that it has read to their end as a producer
        gives them, each part inline or a blob by itself: whoever wants only the text or the chunks finds it."""
        outputs = dict(call.interface_inputs)
        for slot in call.stream_inputs:
            parts = {key: await self._values.pack(slot, given[slot][key]) for key in ("text", "items")}
            outputs[slot] = {**parts, "chunks": given[slot]["chunks"]}
        return outputs

    async def _pack_stream(self, slot: str, collected: Collected) -> dict[str, Any]:
        packed: dict[str, Any] = {"text": await self._values.pack(slot, "".join(collected.parts))}
        packed["chunks"] = collected.count
        if collected.items is not None:
            packed["items"] = await self._values.pack(slot, collected.items)
        return packed


def _outputs_in(given: Any) -> ItemsView[str, Any]:
    if not isinstance(given, Mapping):
        raise InvalidNode(f"the node gave {type(given).__name__}; expected a mapping of outputs")
    # Names are keys of messages, tables and events: none may be what JSON has no key for.
    for slot in given:
        if not isinstance(slot, str):
            raise InvalidNode(f"the node gave an output whose name is of type {type(slot).__name__}; names are texts")
        if whole_text(slot) != slot:
            raise InvalidNode("the node gave an output whose name holds half of a surrogate pair")
    return given.items()


def _warning(attempt: Attempt, slot: str) -> Callable[[str], None]:
    return lambda change: attempt.warn("output_changed", f"output {slot!r}: {change}")
