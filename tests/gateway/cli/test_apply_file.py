"""The file of `triggers apply`: what it wants, and every mistake with its line."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pytest

from innkeeper.gateway.cli.apply_file import Wanted, read_apply_file
from innkeeper.gateway.cli.run_command import UsageError
from innkeeper.gateway.cli.trigger_file import read_definition
from innkeeper.nodes.yaml_tree import InvalidFile

WHOLE = """\
    name: office
    workflows:
      hello:
        file: flows/hello.json
        publish: true
      other:
        file: flows/nameless.json
        project: tales
    triggers:
      nightly:
        kind: schedule
        workflow: {id: hello}
        schedule: {cron: 0 3 * * *, start: 2030-01-31T00:00:00Z}
        labels: {team: inn}
      issues:
        kind: webhook
        enabled: true
        workflow: {id: hello}
        webhook: {scheme: github}
        secrets: [{env: A_SECRET}, {file: secret.txt}]
      files:
        kind: file
        workflow: {id: hello}
        file: {folder: user://in, on: [created]}
    """


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("A_SECRET", "one")
    sub = tmp_path / "deep" / "flows"
    sub.mkdir(parents=True)
    (sub.parent / "secret.txt").write_text("two\n")
    (sub / "hello.json").write_text(json.dumps({"id": "hello", "nodes": []}))
    (sub / "nameless.json").write_text(json.dumps({"nodes": []}))


def read(text: str) -> Wanted:
    """The file stands in a folder of its own: what it names is beside it."""
    file = Path("deep/office.yaml")
    file.write_text(dedent(text))
    return read_apply_file(file)


def problems(text: str) -> list[str]:
    with pytest.raises(InvalidFile) as refused:
        read(text)
    return [str(problem) for problem in refused.value.problems]


def test_file_with_everything() -> None:
    found = read(WHOLE)
    assert found.name == "office"
    told = [(item.id, item.project, item.document["id"], item.publish) for item in found.workflows]
    assert told == [("hello", "default", "hello", True), ("other", "tales", "other", False)]
    nightly, issues, files = found.triggers
    assert nightly.definition["schedule"]["cron"] == "0 3 * * *"
    assert nightly.definition["schedule"]["start"] == "2030-01-31T00:00:00.000Z"
    assert nightly.definition["labels"] == {"team": "inn", "appliedBy": "office"}
    assert (issues.secrets, issues.definition["webhook"]["secretCount"]) == (("one", "two"), 2)
    assert files.definition["file"]["on"] == ["created"]  # in YAML 1.1 this key would be `true`
    assert [item.is_switched for item in found.triggers] == [False, True, False]


def test_without_a_name_nothing_is_labelled() -> None:
    (found,) = read("triggers: {t: {kind: event, workflow: {id: w}, event: {name: x}}}").triggers
    assert found.definition["labels"] == {}
    assert read("") == Wanted(None)


def test_all_mistakes_are_told_with_their_lines() -> None:
    assert problems(
        """\
        nam: office
        workflows:
          hello:
            file: flows/none.json
            publish: yes
          broken: {file: flows/broken.json, colour: red}
          else: {file: flows/hello.json}
          bare:
        triggers:
          t1:
            kind: schedule
            workflow: {id: w}
            schedule:
              cron: 0 99 * * *
          t2:
            kind: webhook
            workflow: {id: w}
            webhook: {scheme: github, secretCount: 1}
          t3:
            name: other
            kind: webhook
            workflow: {id: w}
            webhook: {scheme: token}
            secrets:
              - env: NO_SUCH
              - plain-text
          t4:
            kind: event
            workflow: {id: w}
            labels: {appliedBy: me}
        """
    ) == [
        "line 1: 'nam' is not known in the file; known are name, workflows, triggers",
        "line 4: cannot read 'deep/flows/none.json' (No such file or directory): check the path",
        "line 5: 'publish' must be true or false",
        "line 6: 'colour' is not known in 'workflows.broken'; known are file, project, publish",
        "line 6: cannot read 'deep/flows/broken.json' (No such file or directory): check the path",
        "line 7: the workflow in 'flows/hello.json' has the id 'hello', here it is 'else'",
        "line 8: 'workflows.bare' needs 'file': the path of a workflow file (JSON)",
        "line 14: trigger 't1': 'schedule.cron' is wrong: '99' in hour is out of bounds; allowed are 0-23, "
        "found '0 99 * * *'",
        "line 18: 'secretCount' is counted: say 'secrets' instead",
        "line 20: 'name' must be 't3', as the key above it, or be left out",
        "line 23: trigger 't3': scheme 'token': header: Field required",
        "line 25: the environment variable 'NO_SUCH' of a secret is not set",
        "line 26: 'secrets' is a list of {env: NAME} or {file: PATH}; nothing else may stand here",
        "line 27: trigger 't4': a trigger of the kind 'event' needs 'event', which is missing",
        "line 30: the label 'appliedBy' is set by 'name' above",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", "line 1: the file must hold keys with values"),
        ("triggers:\n  - name: x", "line 1: 'triggers' must hold keys with values"),
        ("triggers:\n  t: 5", "line 2: 'triggers.t' must hold keys with values"),
        ("name: 5", "line 1: 'name' must be a text of 1 to 200 characters"),
        ("name: x\nname: y", "line 2: 'name' stands twice"),
        ("triggers:\n  t: {}\n  t: {}", "line 3: 'triggers.t' stands twice"),
        ("a: &a [x]\nb: *a", "line 2: aliases"),
    ],
)
def test_what_is_no_such_file_is_told(text: str, told: str) -> None:
    assert any(found.startswith(told) for found in problems(text))


def test_webhook_without_a_secret_needs_one_unless_it_is_off() -> None:
    text = "triggers:\n  t:\n    kind: webhook\n    workflow: {id: w}\n    webhook: {scheme: github}\n    enabled: "
    assert problems(f"{text}true")[0] == "line 6: trigger 't': a webhook with the scheme 'github' needs a secret before it is enabled; it has none"  # fmt: skip # noqa: E501
    assert read(f"{text}false").triggers[0].definition["enabled"] is False


def test_secret_of_a_callback_comes_from_elsewhere_too() -> None:
    text = "kind: event\nname: t\nworkflow: {id: w}\nevent: {name: x}\ncallback: {url: https://a.example, secret: "
    file = Path("deep/t.yaml")
    file.write_text(f"{text}{{file: secret.txt}}}}\n")
    assert read_definition(file).whole()["callback"] == {"url": "https://a.example", "secret": "two"}
    file.write_text(f"{text}'$secret:abc'}}\n")
    assert read_definition(file).whole()["callback"]["secret"] == "$secret:abc"
    file.write_text(f"{text}whsec_s3cret}}\n")
    with pytest.raises(InvalidFile, match="line 5: 'secret' of a callback is") as refused:
        read_definition(file)
    assert "s3cret" not in refused.value.message


def test_no_message_holds_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", " s3cret ")
    text = "triggers:\n  t: {kind: webhook, workflow: {id: w}, webhook: {scheme: standard}, secrets: [{env: A_SECRET}]}"
    (found,) = problems(text)
    assert "line 2" in found
    assert "s3cret" not in found


def test_file_that_is_not_there_is_told() -> None:
    with pytest.raises(UsageError, match=r"cannot read 'gone\.yaml'"):
        read_apply_file(Path("gone.yaml"))
