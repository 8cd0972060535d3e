"""Settings: where they come from, what they take, what is said when they can't be used."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from executor_worker.program.wiring import endpoint_of, model_settings, tool_settings
from executor_worker.settings import ConfigErrors, Settings, setting_fields

KEY = "sk-very-secret-value"


def load(folder: Path, **environ: str) -> Settings:
    return Settings.load(environ, folder)


def problems(folder: Path, **environ: str) -> dict[str, str]:
    """Load what can't be used; return the sentences by variable."""
    with pytest.raises(ConfigErrors) as raised:
        load(folder, **environ)
    return {problem.variable: str(problem) for problem in raised.value.problems}


def test_nothing_set_gives_the_documented_defaults(tmp_path: Path) -> None:
    """Every default of the contract, with durations in seconds and sizes in bytes."""
    settings = load(tmp_path)
    assert settings.worker_id.startswith("executor-")
    assert settings.model_dump() == {
        "worker_id": settings.worker_id,
        "workers": (5, 5),
        "redis_addr": "localhost:6379",
        "redis_user": "",
        "redis_pass": "",
        "redis_db": 0,
        "llm_provider": "anthropic",
        "llm_api_key": "",
        "llm_api_key_anthropic": "",
        "llm_api_key_openai": "",
        "llm_api_key_gemini": "",
        "llm_fallback_urls": (),
        "llm_base_url": "",
        "llm_model": "",
        "llm_script": "",
        "llm_timeout": 120.0,
        "llm_max_retries": 3,
        "llm_prices": "",
        "llm_context_tokens": 150_000,
        "mcp_servers": (),
        "mcp_config": "",
        "tool_modules": (),
        "tool_timeout": 300.0,
        "tool_result_chars": 40_000,
        "api_tools_url": "",
        "http_allow": (),
        "max_iterations": 10,
        "node_timeout": 900.0,
        "queues": ("default",),
        "lease": 30.0,
        "max_deliveries": 5,
        "drain_timeout": 60.0,
        "max_items_per_worker": 0,
        "max_rss_mb": 0,
        "max_item_bytes": 4194304,
        "state_ttl": 86400.0,
        "event_content": False,
        "delete_settled": True,
        "results_maxlen": 100_000,
        "failures_to_completed": "auto",
        "health_host": "0.0.0.0",
        "health_port": 8081,
        "health_token": "",
        "ctl_socket": "",
        "log_level": "info",
        "log_format": "",
        "log_file": "",
        "otel_sdk_disabled": False,
        "otel_exporter_otlp_endpoint": "",
        "otel_exporter_otlp_traces_endpoint": "",
        "otel_exporter_otlp_headers": {},
        "otel_exporter_otlp_protocol": "http/protobuf",
        "otel_traces_exporter": (),
        "otel_service_name": "",
        "otel_resource_attributes": {},
        "otel_traces_sampler": "parentbased_always_on",
        "otel_traces_sampler_arg": 1.0,
        "api": False,
        "dago_http_host": "127.0.0.1",
        "dago_http_port": 8080,
        "dago_grpc_port": 9090,
        "api_tokens": (),
        "api_tokens_create": "",
        "api_open": False,
        "api_tls_cert": "",
        "api_tls_key": "",
        "api_processes": 1,
        "api_cors": (),
        "api_rate": 0,
        "api_bodies": 2,
        "dago_url": "",
        "dago_token": "",
        "max_graph_bytes": 4 * 2**20,
        "max_graph_nodes": 10_000,
        "max_graph_edges": 50_000,
        "max_active_graphs": 0,
        "run_queued_max": 500,
        "timeout_graph_execution": 3600.0,
        "timeout_node_execution": 0.0,
        "roles": (),
        "roles_config": "",
        "max_manager": 0,
        "max_inspector": 0,
        "max_agent": 0,
        "max_total": 0,
        "limits": {},
        "redis_connection": "",
        "database_url": "",
        "roles_start": "group",
        "role_table": (),
        "unknown": (),
        "overridden": (),
        "without_effect": (),
    }


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5", 1.5), ("90s", 90), ("5m", 300), ("1h", 3600), ("500ms", 0.5), ("1d", 86400), (" 2 M ", 120)],
)
def test_durations_take_seconds_and_units(tmp_path: Path, text: str, seconds: float) -> None:
    """Plain numbers are seconds; units in any case."""
    assert load(tmp_path, NODE_TIMEOUT=text).node_timeout == seconds


@pytest.mark.parametrize(
    ("text", "count"),
    [("4194304", 4194304), ("4MiB", 4194304), ("4m", 4_000_000), ("512KiB", 524288), ("1GB", 10**9), ("1.5KiB", 1536)],
)
def test_sizes_take_bytes_and_units(tmp_path: Path, text: str, count: int) -> None:
    """Binary and decimal units, told apart by the `i`."""
    assert load(tmp_path, MAX_ITEM_BYTES=text).max_item_bytes == count


@pytest.mark.parametrize(("text", "span"), [("5", (5, 5)), ("2-20", (2, 20)), ("3 - 3", (3, 3)), ("1-1024", (1, 1024))])
def test_workers_take_a_number_or_two(tmp_path: Path, text: str, span: tuple[int, int]) -> None:
    """Fixed, or between the two."""
    assert load(tmp_path, WORKERS=text).workers == span


@pytest.mark.parametrize(("text", "value"), [("1", True), ("true", True), ("On", True), ("0", False), ("no", False)])
def test_switches_take_the_usual_words(tmp_path: Path, text: str, value: bool) -> None:
    """In any case."""
    assert load(tmp_path, DELETE_SETTLED=text).delete_settled is value


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("WORKERS", "0"),
        ("WORKERS", "many"),
        ("WORKERS", "1_000"),
        ("WORKERS", "5.0"),
        ("WORKERS", "1025"),
        ("WORKERS", "5-2"),
        ("WORKERS", "0-5"),
        ("WORKERS", "2-"),
        ("WORKERS", "2-3-4"),
        ("WORKER_ID", "two words"),
        ("REDIS_ADDR", "redis://host:port"),
        ("REDIS_ADDR", "http://host"),
        ("REDIS_ADDR", "host:70000"),
        ("REDIS_ADDR", "redis+sentinel://h1:26379,h2:26379"),
        ("REDIS_ADDR", "unix://"),
        ("REDIS_DB", "-1"),
        ("LLM_PROVIDER", "skynet"),
        ("LLM_BASE_URL", "two words"),
        ("LLM_TIMEOUT", "soon"),
        ("LLM_TIMEOUT", "0"),
        ("LLM_MAX_RETRIES", "-1"),
        ("MCP_SERVERS", "not-a-url"),
        ("MCP_SERVERS", "name=ftp://host"),
        ("TOOL_MODULES", "tools.py;rm"),
        ("API_TOOLS_URL", "host/tools"),
        ("MAX_ITERATIONS", "0"),
        ("NODE_TIMEOUT", "-5"),
        ("NODE_TIMEOUT", "1e3"),
        ("NODE_TIMEOUT", "99999d"),
        ("LEASE", "0"),
        ("MAX_ITEM_BYTES", "4 apples"),
        ("DELETE_SETTLED", "perhaps"),
        ("FAILURES_TO_COMPLETED", "sometimes"),
        ("HEALTH_PORT", "65536"),
        ("LOG_LEVEL", "chatty"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_a_bad_value_is_named_with_its_variable_and_the_fix(tmp_path: Path, variable: str, value: str) -> None:
    """One sentence on what is wrong, one on what to do."""
    said = problems(tmp_path, **{variable: value})
    assert list(said) == [variable]
    assert repr(value) in said[variable]
    assert f"for instance {variable}=" in said[variable]


@pytest.mark.parametrize(
    "address",
    [
        *("localhost", "localhost:6379", "10.0.0.1:1", "[::1]:6379", "embedded", "EMBEDDED", "/run/redis.sock"),
        *("redis://host", "redis://user:p%40ss@host:6379/2", "rediss://host:6380", "unix:///run/redis.sock"),
        *("unix://run/redis.sock?db=2", "redis+sentinel://h1:26379,h2:26379/main/0", "valkey://host"),
    ],
)
def test_every_form_of_redis_address_is_taken(tmp_path: Path, address: str) -> None:
    """host:port, URLs, sockets, sentinels, embedded."""
    settings = load(tmp_path, REDIS_ADDR=address)
    assert settings.redis_addr.lower() == address.lower()
    assert settings.embedded is (address.lower() == "embedded")


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    """An operator corrects them in one go."""
    said = problems(tmp_path, WORKERS="x", LEASE="y", REDIS_DB="z", ENV_FILE="missing", LLM_API_KEY_FILE="gone")
    assert set(said) == {"WORKERS", "LEASE", "REDIS_DB", "ENV_FILE", "LLM_API_KEY_FILE"}


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    """The file fills in what the environment leaves out."""
    (tmp_path / ".env").write_text("WORKERS=7\nLEASE=12s\n# a comment\nexport LOG_LEVEL='warn'\n")
    settings = load(tmp_path, WORKERS="3")
    assert (settings.workers, settings.lease, settings.log_level) == ((3, 3), 12.0, "warn")


def test_an_alias_in_the_environment_goes_before_the_name_in_the_file(tmp_path: Path) -> None:
    """The layers are looked through one after the other, with all names."""
    (tmp_path / ".env").write_text("WORKERS=7\n")
    assert load(tmp_path, WORKER_POOL_SIZE="2").workers == (2, 2)


def test_aliases_stand_for_their_variable_and_its_own_name_wins(tmp_path: Path) -> None:
    """WORKER_POOL_SIZE and LLM_ENDPOINT are the original's names."""
    assert load(tmp_path, WORKER_POOL_SIZE="9").workers == (9, 9)
    assert load(tmp_path, WORKER_POOL_SIZE="9", WORKERS="4").workers == (4, 4)
    assert load(tmp_path, LLM_ENDPOINT="http://gpu:8000").llm_base_url == "http://gpu:8000"
    assert "WORKER_POOL_SIZE" in problems(tmp_path, WORKER_POOL_SIZE="nine")


def test_a_bad_value_in_the_file_is_found_too(tmp_path: Path) -> None:
    """The file's values are read as the environment's are."""
    (tmp_path / ".env").write_text("WORKERS=lots\n")
    assert "WORKERS" in problems(tmp_path)


def test_empty_means_not_set(tmp_path: Path) -> None:
    """An empty variable does not hide the file's, nor the default."""
    (tmp_path / ".env").write_text("LEASE=9\n")
    settings = load(tmp_path, WORKERS="", LEASE="  ", REDIS_ADDR="", ENV_FILE="")
    assert (settings.workers, settings.lease, settings.redis_addr) == ((5, 5), 9.0, "localhost:6379")


def test_an_empty_health_port_means_none(tmp_path: Path) -> None:
    """The one variable that can be switched off by being empty; 0 is any free port."""
    assert load(tmp_path, HEALTH_PORT="").health_port is None
    assert load(tmp_path, HEALTH_PORT="0").health_port == 0
    (tmp_path / ".env").write_text("HEALTH_PORT=9000\n")
    assert load(tmp_path).health_port == 9000
    assert load(tmp_path, HEALTH_PORT="").health_port is None


def test_a_named_settings_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    """Else a slip in its name would silently give the defaults; without a name there may be none."""
    assert "missing.env" in problems(tmp_path, ENV_FILE="missing.env")["ENV_FILE"]
    (tmp_path / "our.env").write_text("WORKERS=2\n")
    assert load(tmp_path, ENV_FILE="our.env").workers == (2, 2)
    assert load(tmp_path, ENV_FILE=str(tmp_path / "our.env")).workers == (2, 2)


def test_a_settings_file_that_is_none_is_an_error(tmp_path: Path) -> None:
    """A folder, binary data, a line that is no assignment; the line itself is not shown, it may hold a secret."""
    (tmp_path / ".env").mkdir()
    assert "can't be read" in problems(tmp_path)["ENV_FILE"]
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in problems(tmp_path, ENV_FILE="binary")["ENV_FILE"]
    (tmp_path / "words").write_text(f"WORKERS=2\nLLM_API_KEY {KEY}\n")
    said = problems(tmp_path, ENV_FILE="words")["ENV_FILE"]
    assert "line 2" in said
    assert KEY not in said


def test_nothing_is_interpolated_in_the_settings_file(tmp_path: Path) -> None:
    """systemd reads the same file and does not do it either; passwords hold dollar signs."""
    (tmp_path / ".env").write_text("REDIS_PASS=a$b${HOME}c\n")
    assert load(tmp_path, HOME="/root").redis_pass == "a$b${HOME}c"


def test_secrets_come_from_files(tmp_path: Path) -> None:
    """NAME_FILE, relative to where we are, the line's end left out; also named in the settings file."""
    (tmp_path / "key").write_text(f"{KEY}\n")
    (tmp_path / "pass").write_text("redis-secret")
    settings = load(tmp_path, LLM_API_KEY_FILE="key", REDIS_PASS_FILE=str(tmp_path / "pass"))
    assert (settings.llm_api_key, settings.redis_pass) == (KEY, "redis-secret")
    (tmp_path / ".env").write_text("LLM_API_KEY_FILE=key\n")
    assert load(tmp_path).llm_api_key == KEY


def test_a_secret_itself_goes_before_its_file(tmp_path: Path) -> None:
    """In one layer; and a file named in the environment goes before a value in the settings file."""
    (tmp_path / "key").write_text("from-file")
    assert load(tmp_path, LLM_API_KEY=KEY, LLM_API_KEY_FILE="key").llm_api_key == KEY
    (tmp_path / ".env").write_text(f"LLM_API_KEY={KEY}\n")
    assert load(tmp_path, LLM_API_KEY_FILE="key").llm_api_key == "from-file"


def test_a_secret_file_that_is_missing_or_empty_is_an_error(tmp_path: Path) -> None:
    """Named by the variable that named it."""
    assert "No such file" in problems(tmp_path, LLM_API_KEY_FILE="gone")["LLM_API_KEY_FILE"]
    (tmp_path / "empty").write_text("\n")
    assert "empty" in problems(tmp_path, REDIS_PASS_FILE="empty")["REDIS_PASS_FILE"]


def test_a_secret_given_twice_gets_a_warning_that_says_which_wins(tmp_path: Path) -> None:
    """In one place; a file that another layer overrides is nothing unusual."""
    (warning,) = load(tmp_path, LLM_API_KEY=KEY, LLM_API_KEY_FILE="gone").warnings
    assert warning.startswith("LLM_API_KEY_FILE in the environment is ignored: LLM_API_KEY is set there too")
    assert KEY not in warning
    (tmp_path / ".env").write_text("REDIS_PASS=a\nREDIS_PASS_FILE=gone\n")
    (warning,) = load(tmp_path).warnings
    assert warning.startswith(f"REDIS_PASS_FILE in the settings file ({tmp_path}/.env, line 2) is ignored")
    (tmp_path / ".env").write_text("REDIS_PASS_FILE=gone\n")
    assert load(tmp_path, REDIS_PASS="a").warnings == ()


@pytest.mark.parametrize("name", ["LLM_API_KEY", "llm_api_key"])
def test_secrets_come_from_systemds_credentials(tmp_path: Path, name: str) -> None:
    """A file named as the variable, in any case; anything that is set goes before it."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / name).write_text(f"{KEY}\n")
    (folder / "workers").write_text("9")
    settings = load(tmp_path, CREDENTIALS_DIRECTORY=str(folder), LLM_API_KEY="")
    assert (settings.llm_api_key, settings.workers) == (KEY, (5, 5))
    assert load(tmp_path, CREDENTIALS_DIRECTORY=str(folder), LLM_API_KEY="other").llm_api_key == "other"
    assert load(tmp_path, CREDENTIALS_DIRECTORY=str(tmp_path / "none")).llm_api_key == ""


STRAY = {
    "\u2013": "en dash",
    "\n": "a line break",
    "\r": "a line break",
    "\t": "a tab",
    "\u201c": "left double quotation mark",
    "\u00a0": "no-break space",
    "\u200b": "zero width space",
    "\u00e9": "latin small letter e with acute",
    "\x07": "a character",
}
HEADERS = ("LLM_API_KEY", "LLM_API_KEY_ANTHROPIC", "LLM_API_KEY_OPENAI", "LLM_API_KEY_GEMINI", "HEALTH_TOKEN")


@pytest.mark.parametrize("variable", HEADERS)
@pytest.mark.parametrize("char", STRAY)
def test_secret_that_no_header_can_carry_is_a_wrong_setting(tmp_path: Path, variable: str, char: str) -> None:
    """What is in its midst is said, by name and place; the secret is not."""
    said = problems(tmp_path, **{variable: f"sk-very{char}secret"})[variable]
    assert f"{STRAY[char]}" in said
    assert "as character 8 of 14" in said
    assert "sk-very" not in said and "secret" not in said
    (tmp_path / "key").write_text(f"sk-very{char}secret\n")
    assert STRAY[char] in problems(tmp_path, **{f"{variable}_FILE": "key"})[f"{variable}_FILE"]


def test_secrets_are_taken_as_they_are_pasted(tmp_path: Path) -> None:
    """With white space around, and words for servers that want no key."""
    assert load(tmp_path, LLM_API_KEY=f"\u00a0 {KEY}\r\n").llm_api_key == KEY
    assert load(tmp_path, LLM_API_KEY="not needed").llm_api_key == "not needed"


CLUSTER = {
    "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
    "OTEL_TRACES_EXPORTER": "otlp,console",
    "OTEL_TRACES_SAMPLER": "xray",
    "OTEL_TRACES_SAMPLER_ARG": "endpoint=http://h,pollingIntervalMs=5000",
    "OTEL_EXPORTER_OTLP_HEADERS": "no pairs",
    "OTEL_RESOURCE_ATTRIBUTES": "a b=c",
    "OTEL_SDK_DISABLED": "perhaps",
}


@pytest.mark.parametrize("off", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}])
def test_traces_of_others_are_nothing_while_ours_are_off(tmp_path: Path, off: dict[str, str]) -> None:
    """Variables that are set for a whole cluster, whatever they say."""
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"}
    for given in (CLUSTER | endpoint, CLUSTER | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}):
        settings = load(tmp_path, **given | off)
        assert (settings.traces_endpoint, settings.warnings) == ("", ())
    alone = {name: text for name, text in CLUSTER.items() if name != "OTEL_TRACES_EXPORTER"}
    for given in (
        alone,
        alone | {"OTEL_TRACES_EXPORTER": "console"},
        alone | {"OTEL_TRACES_EXPORTER": "zipkin,jaeger"},
    ):
        assert (load(tmp_path, **given).traces_endpoint, load(tmp_path, **given).warnings) == ("", ())


def test_traces_of_others_are_a_warning_while_ours_are_on(tmp_path: Path) -> None:
    """What has no effect is named, each once, and what holds instead; a secret is not shown."""
    settings = load(tmp_path, **CLUSTER, OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4318")
    assert settings.traces_endpoint == "http://collector:4318/v1/traces"
    assert (settings.otel_traces_sampler, settings.otel_traces_sampler_arg) == ("parentbased_always_on", 1.0)
    said = {warning.partition(" ")[0]: warning for warning in settings.warnings}
    assert said.keys() == CLUSTER.keys()
    assert "'xray' is not one of" in said["OTEL_TRACES_SAMPLER"]
    assert "as if it were parentbased_always_on" in said["OTEL_TRACES_SAMPLER"]
    assert "console" in said["OTEL_TRACES_EXPORTER"]
    assert "no pairs" not in said["OTEL_EXPORTER_OTLP_HEADERS"]


@pytest.mark.parametrize("address", ["collector:4317", "grpc://collector:4317", "unix:///run/otel"])
def test_collector_of_another_kind_is_a_wrong_setting_while_traces_are_on(tmp_path: Path, address: str) -> None:
    """They were asked for, and would go nowhere."""
    assert set(problems(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=address)) == {"OTEL_EXPORTER_OTLP_ENDPOINT"}
    assert load(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=address, OTEL_SDK_DISABLED="true").warnings == ()


def test_no_secret_is_shown(tmp_path: Path) -> None:
    """Neither in a complaint nor in what Python shows of the value."""
    said = problems(tmp_path, REDIS_ADDR=f"redis://user:{KEY}@host:port", MCP_SERVERS=f"ftp://me:{KEY}@host")
    assert KEY not in "".join(said.values())
    settings = load(tmp_path, LLM_API_KEY=KEY, REDIS_PASS=KEY, HEALTH_TOKEN=KEY, REDIS_ADDR=f"redis://:{KEY}@host")
    assert KEY not in repr(settings)
    assert settings.secrets == (KEY, KEY, KEY, KEY)


def test_no_password_in_a_url_is_shown(tmp_path: Path) -> None:
    """What Python shows of the settings, and of what is made of them, keeps hosts and leaves passwords out."""
    url = f"https://me:{KEY}@host.example"
    named = {"MCP_SERVERS": f"search={url}", "LLM_FALLBACK_URLS": f"openai={url}"}
    settings = load(tmp_path, REDIS_ADDR=f"redis://:{KEY}@host", LLM_BASE_URL=url, API_TOOLS_URL=url, **named)
    made = (settings, endpoint_of(settings), model_settings(settings), tool_settings(settings))
    assert KEY not in repr(made)
    assert "search=https://***@host.example" in repr(settings)


def test_secrets_in_urls_are_known(tmp_path: Path) -> None:
    """So that the logs can leave them out; as they are written and as they are meant."""
    settings = load(
        tmp_path,
        REDIS_ADDR="redis://u:p%40ss@h?sentinel_password=two",
        MCP_SERVERS="a=https://x:three@h/",
        DATABASE_URL="postgresql://u:four@h/name",
    )
    assert set(settings.secrets) == {"p@ss", "p%40ss", "two", "three", "four", "postgresql://u:four@h/name"}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("WORKER_IDD", "WORKER_ID"),
        ("WORKRS", "WORKERS"),
        ("LLM_MODLE", "LLM_MODEL"),
        ("LLM_APIKEY", "LLM_API_KEY"),
        ("LLM_API_KEY_FIEL", "LLM_API_KEY_FILE"),
        ("REDIS_URL", "REDIS_ADDR"),
        ("REDIS_HOST", "REDIS_ADDR"),
        ("REDIS_PASSWORD", "REDIS_PASS"),
        ("MCP_SERVER", "MCP_SERVERS"),
        ("TOOL_MODULE", "TOOL_MODULES"),
        ("MAX_ITERATION", "MAX_ITERATIONS"),
        ("NODE_TIMOUT", "NODE_TIMEOUT"),
        ("LEASES", "LEASE"),
        ("DRAIN_TIMOUT", "DRAIN_TIMEOUT"),
        ("HEALTH_PROT", "HEALTH_PORT"),
        ("LOG_LEVLE", "LOG_LEVEL"),
        ("FAILURES_TO_COMPLETE", "FAILURES_TO_COMPLETED"),
    ],
)
def test_a_misspelt_variable_gets_a_warning_with_the_nearest_one(tmp_path: Path, name: str, meant: str) -> None:
    """It is ignored, and said to be."""
    (warning,) = load(tmp_path, **{name: "1"}).warnings
    assert warning.startswith(f"{name} in the environment")
    assert f"did you mean {meant}?" in warning


@pytest.mark.parametrize(
    "name",
    [
        *("NODE_ENV", "NODE_OPTIONS", "NODE_NAME", "MAX_JOBS", "LOG_DIR", "STATE_DIRECTORY", "LOGS_DIRECTORY", "PATH"),
        *("REDIS_SERVICE_HOST", "REDIS_PORT", "REDIS_PORT_6379_TCP_ADDR", "HTTP_PROXY", "LESS", "ANTHROPIC_API_KEY"),
    ],
)
def test_other_programs_variables_get_none(tmp_path: Path, name: str) -> None:
    """Kubernetes', Node's, systemd's and the shell's own."""
    assert load(tmp_path, **{name: "1"}).warnings == ()


def test_what_is_misspelt_in_the_settings_file_gets_a_warning(tmp_path: Path) -> None:
    """Everything in that file is meant for us."""
    (tmp_path / ".env").write_text("REDIS_PORT=6380\nHELTH_PORT=1\nANTHROPIC_API_KEY=x\n")
    warnings = load(tmp_path).warnings
    assert [warning.partition(" ")[0] for warning in warnings] == ["HELTH_PORT", "REDIS_PORT"]
    helth, redis = warnings
    assert f"in the settings file ({tmp_path}/.env, line 2) is" in helth
    assert f"in the settings file ({tmp_path}/.env, line 1) is" in redis


def test_variables_of_the_original_are_said_to_have_no_effect(tmp_path: Path) -> None:
    """In one sentence, wherever they stand; they are no misspellings, and what they hold does not matter."""
    (tmp_path / ".env").write_text("REDIS_POOL_SIZE=lots\nTIMEOUT_SHUTDOWN=30s\n")
    settings = load(tmp_path, REDIS_DIAL_TIMEOUT="5s", CEL_ENABLED="true")
    (warning,) = settings.warnings
    assert warning.startswith("REDIS_POOL_SIZE, REDIS_DIAL_TIMEOUT, TIMEOUT_SHUTDOWN, CEL_ENABLED have no effect here")
    assert "for TIMEOUT_SHUTDOWN set DRAIN_TIMEOUT" in warning
    assert settings.unknown == () and load(tmp_path, ENV_FILE="/dev/null").warnings == ()


def test_legacy_tools_get_a_warning(tmp_path: Path) -> None:
    """They are deprecated; that is no misspelling."""
    settings = load(tmp_path, API_TOOLS_URL="http://tools/")
    assert settings.api_tools_url == "http://tools"
    assert "deprecated" in settings.warnings[0]
    assert settings.unknown == ()


@pytest.mark.parametrize(
    ("given", "provider"),
    [("claude", "anthropic"), ("GPT", "openai"), ("local", "ollama"), ("google", "gemini"), ("Scripted", "scripted")],
)
def test_providers_have_other_names(tmp_path: Path, given: str, provider: str) -> None:
    """As the original called them, in any case."""
    assert load(tmp_path, LLM_PROVIDER=given).llm_provider == provider


def test_lists_are_taken_apart(tmp_path: Path) -> None:
    """Blanks and empty places do not count."""
    settings = load(tmp_path, MCP_SERVERS="http://a/mcp, b=https://b ,", TOOL_MODULES="tools , acme.more")
    assert settings.mcp_servers == ("http://a/mcp", "b=https://b")
    assert settings.tool_modules == ("tools", "acme.more")


def test_bytes_that_are_no_text_are_taken_or_complained_of(tmp_path: Path) -> None:
    """A path may hold them; a complaint shows them escaped, as they could not be printed."""
    settings = load(tmp_path, LOG_FILE="/tmp/\udce9", MCP_CONFIG="\udce9")
    assert (settings.log_file, settings.mcp_config) == ("/tmp/\udce9", "\udce9")
    assert type(settings.log_file) is str
    said = problems(tmp_path, WORKERS="\udce9", TOOL_MODULES="\udce9.\udce9")
    assert all("\\udce9" in sentence and sentence.isprintable() for sentence in said.values())
    assert set(said) == {"WORKERS", "TOOL_MODULES"}


def test_no_variable_passes_for_what_is_found_out(tmp_path: Path) -> None:
    """`unknown` is no setting, whatever the environment says."""
    assert load(tmp_path, UNKNOWN="1", unknown="2").unknown == ()


def test_a_complaint_names_the_variable_that_was_used(tmp_path: Path) -> None:
    """An alias, or the one that named the file."""
    (tmp_path / "address").write_text("host:port\n")
    said = problems(tmp_path, WORKER_POOL_SIZE="nine", REDIS_ADDR_FILE="address")
    assert said["WORKER_POOL_SIZE"].startswith("WORKER_POOL_SIZE: 'nine' is not a whole number from 1 to 1024, or two")
    assert said["REDIS_ADDR_FILE"].startswith("REDIS_ADDR_FILE: 'host:port' is not host:port,")


def test_settings_can_not_be_changed(tmp_path: Path) -> None:
    """A reload makes new ones."""
    with pytest.raises(ValidationError, match="frozen"):
        load(tmp_path).lease = 3  # type: ignore[misc]


def test_every_setting_is_described(tmp_path: Path) -> None:
    """The tables in the documentation are made of this."""
    described = setting_fields()
    assert len(described) == len(Settings.model_fields) - 4
    assert all(setting.meaning for setting in described.values())
    assert {name for name, setting in described.items() if setting.secret} == {
        "redis_pass",
        "llm_api_key",
        "health_token",
        "api_tokens",
        "dago_token",
        "llm_api_key_anthropic",
        "llm_api_key_openai",
        "llm_api_key_gemini",
        "otel_exporter_otlp_headers",
        "redis_connection",
        "database_url",
    }
