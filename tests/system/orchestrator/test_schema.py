"""The API is what its description says, whatever it is asked: requests made up from that description."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2

from tests.kit import Pool

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def test_made_up_requests_are_answered_as_described(api: Callable[..., Pool], tmp_path: Path) -> None:
    """Each operation by itself, and after one another as the links say: never a 500, always what is described."""
    pool = api()
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{pool.api_url}/openapi.json"]
    bounds = ["--max-examples", "6", "--phases", "fuzzing,stateful", "--seed", "1", "--request-timeout", "20"]
    asked = [*command, *bounds, "--checks", CHECKS, "--no-color"]
    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:]
    assert not pool.seen("api.failed")
    assert httpx2.get(f"{pool.api_url}/ready", timeout=60).text == "ready"
