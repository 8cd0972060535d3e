"""`graph` commands over an API: the same as over Redis."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from tests.contract.conftest import WITH_TOOLS
from tests.kit import Pool
from tests.kit.commands import run_program
from tests.system.orchestrator.graphs import doubling, waiting


def test_commands_say_where_no_api_answers(tmp_path: Path) -> None:
    """Where to, why, and what to do; also if what answers there is another server."""
    with socket.socket() as silent:  # bound, so that no other process listens there
        silent.bind(("127.0.0.1", 0))
        said = _said_by("cancel x", tmp_path, f"http://user:s3cret@127.0.0.1:{silent.getsockname()[1]}")
    assert re.fullmatch(
        r".*the API at http://\S+@127\.0\.0\.1:\d+ can't be reached \(Connection refused\)\. .*DAGO_URL.*", said
    )
    assert "s3cret" not in said and "Errno" not in said
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as other:
        Thread(target=other.serve_forever).start()
        try:
            said = _said_by("list", tmp_path, f"http://127.0.0.1:{other.server_port}")
        finally:
            other.shutdown()
    assert "HTTP 404: what answers is not the API" in said


def _said_by(command: str, folder: Path, url: str) -> str:
    env = {"DAGO_URL": url, "LLM_PROVIDER": "scripted"}
    done = run_program("graph", *command.split(), env=env, cwd=folder)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr.strip()


def test_commands_talk_to_the_api(api: Callable[..., Pool], tmp_path: Path) -> None:
    """Submit, follow, list, show, hold, resume, cancel, retry; no Redis is in reach."""
    pool = api(API_TOKENS="op:operate:ccc", **WITH_TOOLS)
    env = {"DAGO_URL": pool.api_url, "DAGO_TOKEN": "ccc", "REDIS_ADDR": "localhost:1", "LLM_PROVIDER": "scripted"}

    def graph(*words: str, status: int = 0, **more: str) -> list[Any]:
        done = run_program("graph", *words, env={**env, **more}, cwd=tmp_path)
        assert done.returncode == status, done.stderr
        if status or "--follow" in words:
            return [done.stderr + done.stdout]
        return [json.loads(line) for line in done.stdout.splitlines()] if done.stdout[:2] == '{"' else [done.stdout]

    (tmp_path / "g.json").write_text(json.dumps(doubling()))
    (result,) = graph("submit", "g.json", "-i", "x=21", "--wait")
    assert json.loads(result)["output"] == 42 if isinstance(result, str) else result["output"] == 42
    assert "graph.completed" in graph("submit", "g.json", "-i", "x=1", "--follow")[0]
    (tmp_path / "bad.json").write_text('{"nodes": {"a": {"type": "nothing"}}}')
    assert "/graph/nodes/a/type" in graph("submit", "bad.json", status=1)[0]
    (tmp_path / "w.json").write_text(json.dumps(waiting(str(tmp_path / "gate"))))
    (made,) = graph("submit", "w.json")
    graph_id = made["graph_id"]
    assert [run["graph_id"] for run in graph("list", "--json", "--status", "running")] == [graph_id]
    assert graph_id in graph("show", graph_id)[0]
    assert graph("hold", graph_id)[0]["held"] and not graph("resume", graph_id)[0]["held"]
    assert graph("cancel", "--status", "running", "--dry-run") == [{"graph_id": graph_id}]
    assert graph("cancel", graph_id)[0]["status"] == "cancelled"
    assert "graph.cancelled" in graph("follow", graph_id, status=1)[0]
    assert graph("retry", graph_id)[0]["epoch"] == 2
    assert "both at once" in graph("cancel", graph_id, "--status", "running", status=2)[0]
    assert "has not ended within 1 s" in graph("submit", "w.json", "--wait", "--timeout", "1s", status=1)[0]
    assert "not found" in graph("show", "nobody", status=1)[0].lower()
    assert "token" in graph("list", status=1, DAGO_TOKEN="wrong")[0]
