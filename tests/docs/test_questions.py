"""What newcomers ask has an answer: the table of docs/README.md leads to a heading for each question."""

from __future__ import annotations

import re

from tests.docs.pages import DOCS, table_rows
from tests.docs.test_pages import anchors

INDEX = (DOCS / "README.md").read_text()
WORDS = [
    *("browser", "editor", "look", "install", "offline", "settings", "TLS", "who", "dependencies", "block", "logs"),
    *("debug", "loaded", "limits", "retries", "key", "upgrade", "own", "service", "compare", "schedules", "shell"),
    *("base_url", "tools", "cost", "stored"),
]
"""One of each question, in order: none may get lost."""


def test_each_question_leads_to_a_heading() -> None:
    rows = table_rows(INDEX, "Questions")
    assert len(rows) == len(WORDS) == 26
    for (question, answer), word in zip(rows, WORDS, strict=True):
        assert word.lower() in question.lower()
        links = re.findall(r"\]\(([\w.-]+)#([\w-]+)\)", answer)
        assert links, question
        for page, anchor in links:
            assert anchor in anchors(DOCS / page), question


def test_what_is_not_there_is_said_to_be_missing() -> None:
    text = (DOCS / "questions.md").read_text()
    for heading in ("What does it count of tokens and cost?",):
        assert "not yet" in text.split(f"## {heading}\n")[1].split("\n## ")[0].lower()
