"""Renders a chart, as Helm's own library does: `render.py CHART` with values as JSON on stdin; lints it first."""

from __future__ import annotations

import json
import sys

import helm_python
import yaml

ADVICE = 1

chart, values = sys.argv[1], json.load(sys.stdin)
found = [one for one in helm_python.lint(chart, values=values)["messages"] if one["severity"] > ADVICE]
if found:
    sys.exit(json.dumps(found))
rendered = helm_python.Chart.load(chart).render(values, name="try", namespace="graphs")
texts = {name: text for name, text in rendered.items() if name.endswith(".yaml")}
json.dump([document for text in texts.values() for document in yaml.safe_load_all(text) if document], sys.stdout)
