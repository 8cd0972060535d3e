"""Python functions as tools: TOOL_MODULES=tools PYTHONPATH=examples."""

from __future__ import annotations

from typing import Literal

from executor_worker.tools import tool

Country = Literal["Denmark", "Germany", "Norway", "Sweden"]
DAYS: dict[Country, int] = {"Denmark": 3, "Germany": 2, "Norway": 5, "Sweden": 4}


@tool(effects="none")
def delivery_days(country: Country, service: Literal["standard", "express"] = "standard") -> int:
    """
    Say how many working days a parcel takes from our warehouse.

    Args:
        country: Where it goes.
        service: Express takes half the time.
    """
    days = DAYS[country]
    return -(-days // 2) if service == "express" else days
