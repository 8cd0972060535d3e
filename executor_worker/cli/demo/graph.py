"""
The demo's graph: two tool nodes and an agent, which need nothing of each other, then an llm that needs all three.

What its scripted model says is here too: the calls, the schemas and the results are real, only the model is not.
"""

from __future__ import annotations

from typing import Any

INPUTS = {"item": "gear", "pieces": 6, "customer": "Ada"}

NODES: dict[str, dict[str, Any]] = {
    "stock": {
        "type": "tool",
        "dependencies": [],
        "config": {"tool_name": "stock", "tool_params": {"item": "{{item}}"}},
    },
    "price": {
        "type": "tool",
        "dependencies": [],
        "config": {"tool_name": "price", "tool_params": {"item": "{{item}}"}},
    },
    "offer": {
        "type": "agent",
        "dependencies": [],
        "config": {
            "task": "Can we deliver {{pieces}} pieces of {{item}}, and what do they cost together?",
            "llm_config": {"system": "You prepare offers. Look up what you need; never guess a number."},
            "tools": ["stock", "price", "calculate"],
            "max_iterations": 5,
        },
    },
    "letter": {
        "type": "llm",
        "dependencies": ["stock", "price", "offer"],
        "config": {
            "llm_config": {
                "prompt": "Write a letter to {{customer}}: {{offer.result}} There are {{stock.pieces}} on the shelves.",
                "output_schema": {
                    "type": "object",
                    "properties": {"subject": {"type": "string"}, "text": {"type": "string"}},
                    "required": ["subject", "text"],
                    "additionalProperties": False,
                },
            }
        },
    },
}

SCRIPT: list[dict[str, Any]] = [
    {
        "match": "^Can we deliver",
        "delay_s": 0.3,
        "reply": "Let me look at the shelves and the price list.",
        "tool_calls": [
            {"name": "stock", "arguments": {"item": "gear"}},
            {"name": "price", "arguments": {"item": "gear"}},
        ],
    },
    {
        "match": "^Can we deliver",
        "delay_s": 0.3,
        "tool_calls": [{"name": "calculate", "arguments": {"expression": "6 * 18.5"}}],
    },
    {
        "match": "^Can we deliver",
        "delay_s": 0.3,
        "reply": "Yes: there are 7 gears, and 6 of them cost 111.00 euros.",
    },
    {
        "match": "^Write a letter",
        "delay_s": 0.3,
        "reply": {
            "subject": "Your gears",
            "text": "Dear Ada, we can deliver your 6 gears today, for 111.00 euros together.",
        },
    },
]

DOCUMENT = {"name": "offer", "nodes": NODES}
