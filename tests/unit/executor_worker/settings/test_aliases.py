"""Settings under two names: two different values are told, with the one that counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from executor_worker.settings import Settings, setting_fields

PAIRS = {
    "WORKER_POOL_SIZE": ("WORKERS", "4", "9"),
    "LLM_ENDPOINT": ("LLM_BASE_URL", "http://a.example", "http://b.example"),
    "DEFAULT_MODEL": ("LLM_MODEL", "a", "b"),
}


def told(folder: Path, **environ: str) -> list[tuple[str, str, str]]:
    return [(one.used, one.ignored, one.problem) for one in Settings.load(environ, folder).overridden]


def test_all_pairs_there_are_stand_in_the_test() -> None:
    """A new alias comes with its line here."""
    names = [field.names for field in setting_fields().values()]
    found = {alias: own for own, *more in names for alias in more if not alias.endswith("_FILE")}
    assert found == {alias: own for alias, (own, _, _) in PAIRS.items()}


@pytest.mark.parametrize("alias", PAIRS)
def test_an_alias_with_another_value_is_told(tmp_path: Path, alias: str) -> None:
    """The name goes before it; with the same value, or alone, there is nothing to say."""
    own, first, second = PAIRS[alias]
    [(used, ignored, problem)] = told(tmp_path, **{own: first, alias: second})
    assert (used, ignored) == (own, alias)
    assert problem.startswith(f"'{second}' in the environment is ignored: {own} goes before it, '{first}' in the env")
    assert told(tmp_path, **{own: first, alias: first}) == []
    assert told(tmp_path, **{alias: second}) == told(tmp_path, **{own: first}) == []
    assert told(tmp_path, **{own: first, alias: " "}) == []


def test_a_secrets_file_is_no_other_name(tmp_path: Path) -> None:
    """Its text is a path."""
    (tmp_path / "address").write_text("b:6379")
    assert told(tmp_path, REDIS_ADDR="a:6379", REDIS_ADDR_FILE="address") == []


def test_what_is_written_otherwise_and_means_the_same_is_not_told(tmp_path: Path) -> None:
    """The values are compared, not the texts; one that can't be read is another."""
    assert told(tmp_path, WORKERS="4", WORKER_POOL_SIZE="4-4") == []
    [(used, ignored, _)] = told(tmp_path, WORKERS="4", WORKER_POOL_SIZE="four")
    assert (used, ignored) == ("WORKERS", "WORKER_POOL_SIZE")


def test_names_in_different_places_are_told_with_the_places(tmp_path: Path) -> None:
    """The environment goes before the file, also with the alias; the same name in both is nothing unusual."""
    (tmp_path / ".env").write_text("\nWORKERS=4\n")
    assert Settings.load({"WORKER_POOL_SIZE": "9"}, tmp_path).workers == (9, 9)
    [(used, ignored, problem)] = told(tmp_path, WORKER_POOL_SIZE="9")
    assert (used, ignored) == ("WORKER_POOL_SIZE", "WORKERS")
    assert problem.startswith(f"'4' in the settings file ({tmp_path}/.env, line 2) is ignored: WORKER_POOL_SIZE goes")
    assert told(tmp_path, WORKERS="9") == []


def test_a_password_in_an_address_is_not_shown(tmp_path: Path) -> None:
    """Neither in the one that counts nor in the other."""
    given = {"LLM_BASE_URL": "http://bob:hunter2@a.example", "LLM_ENDPOINT": "http://eve:hunter3@b.example"}
    [(_, _, problem)] = told(tmp_path, **given)
    assert problem.startswith("its value in the environment is ignored: LLM_BASE_URL goes before it, its value in")


@pytest.mark.parametrize(
    ("connection", "more", "used"),
    [
        ("cache:7000,password=a", {"REDIS_ADDR": "cache:7000", "REDIS_PASS": "a"}, []),
        ("cache:7000", {"REDIS_ADDR": "redis://cache:7000/"}, []),
        ("cache:7000,password=a", {"REDIS_ADDR": "cache:7000"}, ["REDIS_ADDR"]),
        ("cache:7000,password=a", {"REDIS_ADDR": "cache:7001", "REDIS_PASS": "a"}, ["REDIS_ADDR"]),
        ("password=a", {"REDIS_ADDR": "cache:7000"}, ["REDIS_ADDR"]),
        ("cache:7000,password=a,user=u,defaultDatabase=3", {"REDIS_USER": "u", "REDIS_DB": "3"}, []),
        ("cache:7000,user=u,defaultDatabase=3", {"REDIS_USER": "v", "REDIS_DB": "4"}, ["REDIS_USER", "REDIS_DB"]),
        ("cache:7000", {"REDIS_USER": "v", "REDIS_PASS": "p", "REDIS_DB": "4"}, []),
    ],
)
def test_a_connection_beside_other_variables_is_told_if_they_differ(
    tmp_path: Path, connection: str, more: dict[str, str], used: list[str]
) -> None:
    """What it leaves out may come from them."""
    found = told(tmp_path, REDIS_CONNECTION=connection, **more)
    assert [(one, ignored) for one, ignored, _ in found] == [(name, "REDIS_CONNECTION") for name in used]
    assert not any("password" in problem or "cache" in problem for _, _, problem in found)
