"""What a rebuilt index of runs must keep in step with."""

from __future__ import annotations

from innkeeper.gateway.salvage import runs
from innkeeper.gateway.store.models import RunRow


def test_rows_are_read_in_the_order_in_which_files_are_made_today() -> None:
    """A new column belongs into the orders of older files, too, at their end."""
    columns = tuple(column.name for column in RunRow.__table__.columns)
    assert columns == runs._MODEL_ORDER
    assert len(columns) in runs._COUNTS
    assert all(set(order) == set(columns) for order in runs._ORDERS)
