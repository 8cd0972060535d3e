"""Places of settings: file and line of what can't be used, never its value if it is a secret."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from executor_worker.cli.checks.finding import from_error
from executor_worker.errors import ConfigError
from executor_worker.settings import ConfigErrors, Settings
from executor_worker.settings.places import placed

SECRET = "a very secret väluë"


def said(folder: Path, text: str, **environ: str) -> dict[str, str]:
    """Load a settings file that can't be used; return the sentences by variable."""
    (folder / ".env").write_bytes(text.encode())
    with pytest.raises(ConfigErrors) as raised:
        Settings.load(environ, folder)
    return {problem.variable: str(problem) for problem in raised.value.problems}


@pytest.mark.parametrize(
    ("text", "variable", "line"),
    [
        ("WORKERS=lots\n", "WORKERS", 1),
        ("\n\n# a comment\n\nexport WORKERS=lots\n", "WORKERS", 5),
        ("LEASE=9\r\n\r\nWORKERS=lots\r\n", "WORKERS", 3),
        ("LLM_MODEL='two\nlines'\nWORKERS=lots\n", "WORKERS", 3),
        ("WORKERS=3\nWORKERS=lots\n", "WORKERS", 2),
        ("\nWORKER_POOL_SIZE=lots\n", "WORKER_POOL_SIZE", 2),
        ("\nROLES=nobody\n", "ROLES", 2),
        ("\nROLES=agent\nMAX_AGENT=some\n", "MAX_AGENT", 3),
        ("ROLES_CONFIG=missing.toml\nROLES=agent\n", "ROLES_CONFIG", 1),
        ("\n\nREDIS_CONNECTION=password=x\n", "REDIS_CONNECTION", 3),
        ("\nLLM_API_KEY_FILE=missing\n", "LLM_API_KEY_FILE", 2),
        ("\nOTEL_EXPORTER_OTLP_ENDPOINT=nowhere\n", "OTEL_EXPORTER_OTLP_ENDPOINT", 2),
        ("\nDAGO_HTTP_PORT=lots\n", "DAGO_HTTP_PORT", 2),
    ],
)
def test_a_bad_value_of_the_settings_file_is_told_with_its_line(
    tmp_path: Path, text: str, variable: str, line: int
) -> None:
    """Empty lines, comments, values of several lines and Windows' line ends count as an editor counts them."""
    assert said(tmp_path, text)[variable].endswith(f" It stands in {tmp_path}/.env, line {line}.")


def test_a_limit_of_an_added_role_is_told_with_its_line(tmp_path: Path) -> None:
    """Its variable is no field."""
    (tmp_path / "roles.toml").write_text("[roles.helper]\n")
    text = "ROLES=helper\nROLES_CONFIG=roles.toml\nMAX_HELPER=some\n"
    assert said(tmp_path, text)["MAX_HELPER"].endswith(f" It stands in {tmp_path}/.env, line 3.")


def test_a_line_that_is_no_assignment_is_counted_as_an_editor_does(tmp_path: Path) -> None:
    """The parser counts the empty lines before it to it."""
    assert f"line 4 of '{tmp_path}/.env' is not NAME=value" in said(tmp_path, "LEASE=9\n\n\nWORKERS 3\n")["ENV_FILE"]


@pytest.mark.parametrize("line", ["LLM_API_KEY", "export LLM_API_KEY", "WORKERS # 3", "WORKERS: 3", SECRET.split()[-1]])
def test_a_name_alone_is_told_and_not_shown(tmp_path: Path, line: str) -> None:
    """It has no value, or is the rest of a secret that was broken."""
    problem = said(tmp_path, f"LEASE=9\n\n{line}\nDRAIN_TIMEOUT=60\n")["ENV_FILE"]
    assert f"line 3 of '{tmp_path}/.env' is not NAME=value" in problem and line not in problem


def test_a_name_alone_may_stand_for_the_environments_value(tmp_path: Path) -> None:
    """As in files that Docker reads too."""
    (tmp_path / ".env").write_text("WORKERS\nexport LLM_API_KEY\n")
    settings = Settings.load({"WORKERS": "3", "LLM_API_KEY": "k"}, tmp_path)
    assert (settings.workers.least, settings.llm_api_key) == (3, "k")


def test_the_environment_has_no_line(tmp_path: Path) -> None:
    """A value there goes before the file's, which is not blamed."""
    problem = said(tmp_path, "WORKERS=3\nLEASE=9\n", WORKERS="lots", LEASE="long")
    assert problem["WORKERS"].startswith("WORKERS: 'lots' ") and problem["LEASE"].startswith("LEASE: 'long' ")
    assert not any("stands in" in sentence for sentence in problem.values())


def test_a_bad_secret_is_told_with_its_file_and_never_shown(tmp_path: Path) -> None:
    """In the settings file, in a file of its own, in a credential."""
    problem = said(tmp_path, f"LEASE=9\nLLM_API_KEY={SECRET}\n")["LLM_API_KEY"]
    assert problem.endswith(f" It stands in {tmp_path}/.env, line 2.") and SECRET not in problem
    (tmp_path / "key").write_text(SECRET)
    problem = said(tmp_path, f"LLM_API_KEY_FILE={tmp_path}/key\n")["LLM_API_KEY_FILE"]
    assert problem.endswith(f" It stands in {tmp_path}/key.") and SECRET not in problem
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "llm_api_key").write_text(SECRET)
    problem = said(tmp_path, "", CREDENTIALS_DIRECTORY=f"{tmp_path}/given")["LLM_API_KEY"]
    assert problem.endswith(f" It stands in a credential in {tmp_path}/given.") and SECRET not in problem


def test_what_is_found_wrong_later_is_told_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are missing, a password that Redis refuses: after the settings were read."""
    (tmp_path / ".env").write_text("MCP_CONFIG=missing.json\nLLM_ENDPOINT=http://x\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ENV_FILE", raising=False)
    for name in ("MCP_CONFIG", "LLM_BASE_URL", "LLM_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    error = ConfigError("MCP_CONFIG", "it can't be read.", "Name another.")
    finding = from_error(error)
    assert (finding.subject, finding.text) == (
        "MCP_CONFIG",
        f"it can't be read. Name another. It stands in {tmp_path}/.env, line 1.",
    )
    alias = placed(ConfigError("LLM_BASE_URL", "it is no address.", "Set it."), os.environ)
    assert alias.advice == f"it is no address. Set it. It stands in {tmp_path}/.env, line 2, as LLM_ENDPOINT."
    monkeypatch.setenv("LLM_BASE_URL", "http://y")
    assert placed(ConfigError("LLM_BASE_URL", "it is no address.", "Set it."), os.environ).place == ""
