"""What a node gave, in the form in which it travels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.activities.execution.attempt import Attempt
from innkeeper.activities.execution.stream import Collected
from innkeeper.activities.execution.values import OutputMask, Values
from innkeeper.nodes.call import NodeCall
from innkeeper.nodes.services.masking import forms_of_all, mask


class OutputPacker:
    """Packs the outputs of nodes: large values are stored, secrets become references or are masked."""

    def __init__(self, values: Values) -> None:
        self._values = values

    async def pack(self, attempt: Attempt, given: Mapping[str, Any], collected: Collected) -> dict[str, Any]:
        """Batch outputs as `Values` packs them; a stream slot holds `{"text", "chunks"[, "items"]}`.

        Raises:
            InvalidNode: The node gave a value that is no data.
        """
        call, forms = attempt.call, forms_of_all(attempt.secrets.revealed)
        masking = OutputMask(forms)
        outputs = {
            slot: await self._values.pack(slot, value, call.seal.get(slot, ()), attempt.secrets, masking=masking)
            for slot, value in ((mask(name, forms), value) for name, value in given.items())
            if slot not in call.streams
        }
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
