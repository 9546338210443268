"""Templates, JSON, and requests to a web server."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.library_cases.case import Case

SECRET = "Bearer tok-0123456789"
ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"


def node(id: str, type: str, config: dict[str, Any] | None = None, **inputs: Any) -> dict[str, Any]:
    return {"id": id, "fullType": f"core:{type}", "inputs": inputs, "configValues": config or {}}


def echoed(value: Any) -> bool:
    headers = value["headers"]
    return bool(value["method"] == "POST" and json.loads(value["body"]) == {"a": 1} and headers["x-mine"] == "yes")


def is_clean(value: Any) -> bool:
    return "authorization" in value["headers"] and "tok-0123456789" not in json.dumps(value)


CASES = [
    Case(
        "template_fills_in_what_was_extracted",
        [
            node("e", "JsonExtract", data='{"users": [{"name": "Ann"}, {"name": "Bob"}]}', expression="users[*].name"),
            node("t", "Template", template="Hello {{ input | join(' and ') }}{{ mark }}", values={"mark": "!"}),
        ],
        ["e.value > t.input"],
        {"e": {"value": ["Ann", "Bob"], "found": True}, "t": {"text": "Hello Ann and Bob!"}},
    ),
    Case(
        "template_with_a_mistake",
        [node("t", "Template", template="one\n{{ nothing }}", values={})],
        fails={"t": "template, line 2: 'nothing' is undefined"},
    ),
    Case(
        "template_escape",
        [node("t", "Template", template="{{ ''.__class__.__mro__ }}")],
        fails={"t": "template_error"},
    ),
    Case(
        "template_without_end",
        [node("t", "Template", {"timeLimit": 0.3}, template=ENDLESS), node("u", "Template", template="still here")],
        expect={"u": {"text": "still here"}},
        fails={"t": "timeout"},
    ),
    Case(
        "json_extract_default",
        [node("e", "JsonExtract", data={"a": 1}, expression="b", default="none")],
        expect={"e": {"value": "none", "text": "none", "found": False}},
    ),
    Case(
        "http_request",
        [
            node(
                "h",
                "HttpRequest",
                method="POST",
                url="{{WEB}}/echo",
                headers={"X-Mine": "yes"},
                body={"a": 1},
                authorization=SECRET,
            ),
            node("s", "HttpRequest", url="{{WEB}}/status/418"),
        ],
        expect={
            "h": {"status": 200, "json": lambda value: echoed(value) and is_clean(value)},
            "s": {"status": 418, "headers": lambda headers: headers["content-type"] == "application/json"},
        },
    ),
    Case(
        "http_request_fails_on_status",
        [node("h", "HttpRequest", {"failOnError": True}, url="{{WEB}}/status/404")],
        fails={"h": "http_error"},
    ),
    Case(
        "http_request_to_a_private_address",
        [node("h", "HttpRequest", url="http://10.0.0.1/")],
        fails={"h": "INNKEEPER_ALLOW_PRIVATE=1"},
    ),
]
