from __future__ import annotations

from innkeeper.nodes.services.channels import Channel
from innkeeper.nodes.services.http import AddressPolicy
from innkeeper.nodes.services.llm.model_lists import models_of
from tests.nodes.services.llm.wire_server import WireServer

BODY = '{"data": [{"id": "m"}]}'
ANSWER = {"send": f"HTTP/1.1 200 OK\r\nContent-Length: {len(BODY)}\r\n\r\n{BODY}"}


async def test_a_list_of_models_is_asked_for_with_the_headers_and_the_query_of_the_channel() -> None:
    async with WireServer({"it": {"batch": {"responses": [[ANSWER]]}}}) as server:
        told = {
            "id": "a",
            "baseUrl": server.base_url("it"),
            "headers": {"X-Team": "inn"},
            "query": {"api-version": "2"},
        }
        models = await models_of(Channel.model_validate(told), "k", AddressPolicy(allow_loopback=True))
        ((_, _, headers, _),) = server.requests
    assert models == ("m",)
    assert server.targets == ["/c/it.x/v1/models?api-version=2"]
    assert headers["x-team"] == "inn"
