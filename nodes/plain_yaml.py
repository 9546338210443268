"""YAML of operators and plugin authors: safe types only, and nothing that stands for more than is written."""

from __future__ import annotations

import yaml


class AliasFreeLoader(yaml.SafeLoader):
    """Safe YAML without aliases: a few lines of them can stand for gigabytes. They are refused with a YAMLError."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases ('*name') are not allowed")
        return super().compose_node(parent, index)
