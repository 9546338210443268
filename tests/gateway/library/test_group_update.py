"""A workflow after the interface of a group has changed, document in, document out."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from innkeeper.gateway.library.group_sync import MAX_NOTE_CHARS, note_of
from innkeeper.gateway.library.group_update import Followed, InterfaceChange, follow_groups
from innkeeper.gateway.library.group_watch import interface_of, recorded
from innkeeper.nodes.catalogue.plugins import load_catalogue
from innkeeper.workflows.document.model import WorkflowDocument, parse_document
from tests.odd_json import ANY, places, with_value

Json = dict[str, Any]
CATALOGUE = load_catalogue(())


def interface(inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> WorkflowDocument:
    """Key to type, or to further fields of a slot."""

    def slots(side: Mapping[str, Any]) -> Json:
        return {
            key: {"key": key, **({"dataFlowType": slot} if isinstance(slot, str) else slot)}
            for key, slot in side.items()
        }

    return parse_document({"nodes": [], "interfaceInputs": slots(inputs), "interfaceOutputs": slots(outputs)})


TEXTS = {"dataFlowType": "STRING", "multi": True}
STREAM = {"dataFlowType": "STRING", "isStream": True}
BEFORE = interface({"who": "STRING", "texts": TEXTS, "rest": "STRING", "count": "INTEGER"}, {"line": "STRING"})


def edge(name: str, source: str, target: str) -> Json:
    """`source` and `target`: `node.handle`."""
    (a, b), (c, d) = source.split("."), target.split(".")
    return {"id": name, "source": a, "sourceHandle": b, "target": c, "targetHandle": d, "style": {"color": name}}


def user(kind: str = "core:NodeGroup") -> Json:
    """Runs the group `g` with an edge or a value at each of its slots."""
    return {
        "name": "user",
        "odd": {"z": 1, "a": [1.0, 2]},
        "nodes": [
            {"id": "say", "type": "core:Template", "inputValues": {"template": "hi"}},
            {"id": "count", "type": "core:RandomNumber"},
            {
                "position": {"y": 1, "x": 0},
                "id": "group",
                "type": kind,
                "configValues": {"referencedWorkflowId": "g"},
                "inputValues": {"rest": "kept", "count": 3, "unknown": "stays"},
                "inputConnectionOrders": {"texts": ["t2", "t1", "t0"], "who": ["w"]},
            },
            {
                "id": "merge",
                "type": "core:TextMerge",
                "inputConnectionOrders": {"text_inputs": ["m1", "m0"]},
            },
        ],
        "edges": [
            edge("w", "say.text", "group.who"),
            *(edge(f"t{number}", "say.text", f"group.texts__{number}") for number in range(3)),
            edge("m0", "group.line", "merge.text_inputs__0"),
            edge("m1", "say.text", "merge.text_inputs__1"),
            edge("nowhere", "say.text", "group.never"),
        ],
    }


def follow(document: Json, after: WorkflowDocument, before: WorkflowDocument = BEFORE) -> Followed:
    return follow_groups(document, {"g": InterfaceChange(before, after)}, CATALOGUE)


def node(document: Json, name: str) -> Json:
    return next(item for item in document["nodes"] if item["id"] == name)


def edges(document: Json) -> dict[str, str]:
    return {item["id"]: item["targetHandle"] for item in document["edges"]}


# --- what goes and what stays ---------------------------------------------------------------------------------------


def test_new_optional_slot_changes_nothing() -> None:
    document = user()
    after = interface(
        {"who": "STRING", "texts": TEXTS, "rest": "STRING", "count": "INTEGER", "more": "STRING"},
        {"line": "STRING", "second": "STRING"},
    )
    followed = follow(document, after)
    assert followed.document is document
    assert not followed.losses


def test_edges_and_values_of_slots_that_are_gone_go_and_the_rest_stays_to_the_byte() -> None:
    document = user()
    followed = follow(document, interface({"who": "STRING", "texts": TEXTS}, {}))
    expected = user()
    expected["edges"] = [item for item in expected["edges"] if item["id"] != "m0"]
    node(expected, "group")["inputValues"] = {"unknown": "stays"}
    node(expected, "merge")["inputConnectionOrders"] = {"text_inputs": ["m1"]}
    next(item for item in expected["edges"] if item["id"] == "m1")["targetHandle"] = "text_inputs__0"
    assert json.dumps(followed.document) == json.dumps(expected)
    assert document == user(), "the document that came in has changed"
    assert [(loss.what, loss.name, loss.node, loss.slot) for loss in followed.losses] == [
        ("edge", "m0", "group", "line"),
        ("value", "rest", "group", "rest"),
        ("value", "count", "group", "count"),
    ]


def test_slot_of_another_type_keeps_what_fits_it() -> None:
    def after(**types: Any) -> WorkflowDocument:
        return interface(
            {"who": "STRING", "texts": TEXTS, "rest": "STRING", "count": "INTEGER", **types}, {"line": STREAM}
        )

    def kept(followed: Followed) -> tuple[bool, Json]:
        return "w" in edges(followed.document), node(followed.document, "group")["inputValues"]

    values = {"rest": "kept", "count": 3, "unknown": "stays"}
    assert kept(follow(user(), after(count="STRING"))) == (True, values)  # the editor joins numbers to texts, too
    assert kept(follow(user(), after(who="WILDCARD"))) == (True, values)
    assert kept(follow(user(), after(who="OBJECT", rest="OBJECT"))) == (False, {"count": 3, "unknown": "stays"})
    assert kept(follow(user(), after(rest="INTEGER")))[1] == {"count": 3, "unknown": "stays"}
    document = user()
    node(document, "group")["inputValues"] = {"rest": "7", "count": None}
    assert kept(follow(document, after(count="OBJECT"))) == (True, {"rest": "7", "count": None})


def test_edge_that_fits_the_new_type_by_itself_stays() -> None:
    """Somebody has drawn it for the new interface before the workflow was brought up."""
    document = user()
    document["edges"] = [edge("w", "count.number", "group.who"), edge("r", "group.line", "count.reroll")]
    after = interface({"who": "INTEGER"}, {"line": "OBJECT"})
    followed = follow(document, after)
    assert followed.document["edges"] == document["edges"]
    assert not any(loss.what == "edge" for loss in followed.losses)
    document["nodes"].append({"no": "node"})  # a draft that cannot be read: what the other end is nobody knows
    assert follow(document, after).document["edges"] == []


def test_stream_that_becomes_a_value_and_back_keeps_its_edge() -> None:
    there = follow(user(), interface({"who": "STRING"}, {"line": STREAM}))
    assert "m0" in edges(there.document)
    back = follow(
        there.document, interface({"who": "STRING"}, {"line": "STRING"}), interface({"who": "STRING"}, {"line": STREAM})
    )
    assert back.document is there.document


def test_slot_that_takes_one_edge_by_now_keeps_the_first_of_its_order() -> None:
    followed = follow(
        user(),
        interface({"who": "STRING", "texts": "STRING", "rest": "STRING", "count": "INTEGER"}, {"line": "STRING"}),
    )
    into = {name: handle for name, handle in edges(followed.document).items() if handle.startswith("texts")}
    assert into == {"t2": "texts"}
    assert node(followed.document, "group")["inputConnectionOrders"] == {"who": ["w"]}
    assert [loss.name for loss in followed.losses] == ["t1", "t0"]


def test_slot_that_takes_several_edges_by_now_has_numbered_handles() -> None:
    after = interface({"who": TEXTS, "texts": TEXTS, "rest": "STRING", "count": "INTEGER"}, {"line": "STRING"})
    followed = follow(user(), after)
    assert edges(followed.document) == {**edges(user()), "w": "who__0"}
    assert not followed.losses


def test_repetitions_keep_their_own_slots() -> None:
    document = user("core:ForEach")
    node(document, "group")["inputValues"] = {"items": [1], "rest": "x"}
    document["edges"] = [edge("r", "group.results", "merge.text_inputs__0"), edge("w", "say.text", "group.who")]
    followed = follow(document, interface({"item": "STRING"}, {}), BEFORE)
    assert node(followed.document, "group")["inputValues"] == {"items": [1]}
    assert list(edges(followed.document)) == ["r"]
    loop = user("core:Loop")
    assert follow(loop, interface({}, {})).document is loop


def test_editors_snapshot_of_the_interface_is_written_anew() -> None:
    document = user()
    node(document, "group")["data"] = {"label": "G", "groupInterface": {"inputs": {"who": {}}, "outputs": {}, "x": 1}}
    followed = follow(document, interface({"who": "STRING"}, {"line": {**STREAM, "displayName": "Line"}}))
    assert node(followed.document, "group")["data"] == {
        "label": "G",
        "groupInterface": {
            "inputs": {"who": {"key": "who", "dataFlowType": "STRING"}},
            "outputs": {"line": {"key": "line", "dataFlowType": "STRING", "displayName": "Line", "isStream": True}},
            "x": 1,
        },
    }


def test_outputs_and_previews_of_slots_that_are_gone_go() -> None:
    document = {
        **user(),
        "outputInterfaceMappings": {
            "a": {"sourceNodeId": "group", "sourceSlotKey": "line"},
            "b": {"sourceNodeId": "say", "sourceSlotKey": "text"},
        },
        "previewTarget": {"nodeId": "group", "slotKey": "line"},
    }
    followed = follow(document, interface({"who": "STRING"}, {}))
    assert list(followed.document["outputInterfaceMappings"]) == ["b"]
    assert followed.document["previewTarget"] is None
    assert [loss.what for loss in followed.losses][-2:] == ["output", "preview"]


def test_note_names_what_was_lost_and_no_value_and_is_bounded() -> None:
    document = user()
    followed = follow(document, interface({"who": "STRING"}, {}))
    note = note_of(["g"], followed)
    assert "'g'" in note
    assert "'m0'" in note
    assert "'rest'" in note
    assert "kept" not in note
    document["edges"] = [edge(f"m{number}" * 10, "group.line", "merge.x") for number in range(500)]
    note = note_of(["g"], follow(document, interface({"who": "STRING"}, {})))
    assert len(note) <= MAX_NOTE_CHARS
    assert note.endswith("(502 lost in all)")


# --- any document -----------------------------------------------------------------------------------------------------

TYPES = st.sampled_from(["STRING", "INTEGER", "OBJECT", "ARRAY", "WILDCARD", "BOOLEAN", "CONVERTIBLE_ANY", "Own"])
SLOT = st.fixed_dictionaries(
    {"dataFlowType": TYPES},
    optional={"multi": st.booleans(), "isStream": st.booleans(), "matchCategories": st.just(["Json"])},
)
SIDE = st.dictionaries(st.sampled_from(["who", "texts", "rest", "count", "items", "line"]), SLOT)
INTERFACE = st.builds(interface, SIDE, SIDE)
KINDS = st.sampled_from(["core:NodeGroup", "core:ForEach", "core:Loop", "core:Template"])


@st.composite
def drafts(draw: st.DrawFn) -> Json:
    """A user of the group with odd values in some places; always an object, as the library stores them."""
    document: Any = user(draw(KINDS))
    node(document, "group")["data"] = {"groupInterface": {"inputs": {}}}
    document |= {"previewTarget": {"nodeId": "group", "slotKey": "line"}, "outputInterfaceMappings": {"a": {}}}
    for _ in range(draw(st.integers(0, 3))):
        inside = [place for place in places(document) if place]
        document = with_value(document, draw(st.sampled_from(inside)), draw(ANY))
    return dict(document)


@given(drafts(), INTERFACE, INTERFACE)
def test_any_draft_follows_once_and_is_not_touched_itself(
    document: Json, before: WorkflowDocument, after: WorkflowDocument
) -> None:
    kept = copy.deepcopy(document)
    changes = {"g": InterfaceChange(before, after)}
    once = follow_groups(document, changes, CATALOGUE, {"g": after})
    assert document == kept
    again = follow_groups(once.document, changes, CATALOGUE, {"g": after})
    assert json.dumps(again.document) == json.dumps(once.document)
    assert not again.losses
    assert list(once.document) == list(document)
    for loss in once.losses:
        assert loss.node == "group"


@given(INTERFACE)
def test_records_keep_what_decides_what_fits(found: WorkflowDocument) -> None:
    record = recorded(found)
    assert record is not None
    assert recorded(interface_of(json.loads(json.dumps(record)))) == record
    document = user()
    assert follow(document, found, interface_of(record)).document is document
