"""The unit under a real systemd: it starts, reloads, survives what happens to it, and stops, with nothing lost."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.stage import Stage
from tests.kit import alive, cannot_run, free_port, holds_for, wait_until
from tests.system.systemd.conftest import DROP_IN, PASSWORD
from tests.system.systemd.machine import Machine
from tests.system.systemd.unit import Unit, kill

pytestmark = [pytest.mark.xdist_group("systemd"), pytest.mark.timeout(300)]
Took = Callable[[str, float], None]


def naps(stage: Stage, prefix: str, count: int, seconds: float = 0.05) -> list[str]:
    graphs = [f"{prefix}{number}" for number in range(count)]
    for graph in graphs:
        stage.push("nap", graph, seconds=seconds)
    return graphs


def assert_run_once(stage: Stage, graphs: list[str]) -> None:
    assert {graph: len(stage.journal.starts(graph)) for graph in graphs} == dict.fromkeys(graphs, 1)


def test_start_ends_when_every_slot_is_up(unit: Unit, stage: Stage, took: Took) -> None:
    """READY means that items are taken; the unit says how it is, its processes are nobody's in particular."""
    unit.systemctl("stop")
    seconds, _ = unit.systemctl("start")
    took("systemctl start to READY", seconds)
    assert unit.get("/ready").status_code == 200
    shown = unit.show("ActiveState", "StatusText", "NRestarts", "Result", "NotifyAccess")
    assert shown == {
        "ActiveState": "active",
        "StatusText": "running, 2 of 2 workers ready, 0 busy",
        "NRestarts": "0",
        "Result": "success",
        "NotifyAccess": "main",
    }
    assert len(unit.pids()) == 4, "the supervisor, its keeper, two workers"
    users = {Path(f"/proc/{pid}").stat().st_uid for pid in unit.pids()}
    assert len(users) == 1 and 61184 <= users.pop() <= 65519, "a dynamic user"
    graphs = naps(stage, "s", 20, 0)
    stage.assert_settled_once(graphs)
    assert_run_once(stage, graphs)


def test_secrets_come_from_credentials_and_show_nowhere(unit: Unit, stage: Stage) -> None:
    """The only way to this Redis is the password in a file of root's."""
    stage.push("nap", "g")
    assert stage.result()["type"] == "node.completed"
    for pid in unit.pids():
        assert PASSWORD.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
        assert PASSWORD.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert PASSWORD not in unit.machine.run("systemctl", "show", "executor-worker").stdout
    assert PASSWORD not in unit.said(1000)


def test_commands_reach_the_unit_from_outside(unit: Unit) -> None:
    """By the socket in its runtime directory, which nobody but its user and root may use."""
    assert unit.ctl("status").stdout.startswith("running, 2 of 2 workers ready")
    unit.ctl("scale", "3")
    wait_until(lambda: [row["state"] for row in unit.rows()] == ["idle"] * 3, 20, "the third slot")
    unit.ctl("scale", "2")
    wait_until(lambda: len(unit.rows()) == 2, 20, "two slots")
    unit.ctl("pause")
    wait_until(lambda: unit.show("StatusText")["StatusText"].endswith("0 busy, paused"), 20, "the unit to say so")
    unit.ctl("resume")
    wait_until(lambda: unit.show("StatusText")["StatusText"].endswith("0 busy"), 20, "the unit to say so")
    socket = unit.machine.root / "run/executor-worker/ctl.sock"
    assert socket.stat().st_mode & 0o777 == 0o600


def test_killed_worker_is_replaced_and_its_item_runs_again(unit: Unit, stage: Stage, took: Took) -> None:
    """That is the supervisor's business; systemd does not even notice."""
    stage.push("hold_first", "g")
    stage.started("g")
    busy = wait_until(lambda: [row["slot"] for row in unit.rows() if row["state"] == "busy"], 10, "a busy slot")[0]
    began = time.monotonic()
    kill(unit.worker(busy))
    again = stage.started("g", 2)
    took("a killed worker's item runs again", again.at - began)
    assert stage.result()["data"]["output"] == "again"
    assert (unit.restarts(), unit.state()) == (0, "active")


def test_two_pools_of_the_template_run_side_by_side(
    machine: Machine, unit: Unit, stage: Stage, defaults: dict[str, object]
) -> None:
    """Each with its own settings, name, folders and commands; one may stop without the other."""
    pools = [Unit(machine, f"executor-worker@{name}", f"/etc/executor-worker/{name}.env", free_port()) for name in "ab"]
    try:
        for pool in pools:
            pool.drop_in(DROP_IN)
            pool.configure({**defaults, "WORKERS": 1, "HEALTH_PORT": pool.port})
        machine.run("systemctl", "start", *(f"{pool.name}.service" for pool in pools))
        names = {pool.get("/health").json()["worker_id"] for pool in (*pools, unit)}
        assert len(names) == 3
        assert machine.run("ls", "/run").stdout.count("executor-worker") == 3
        pools[0].systemctl("stop")
        assert [pool.state() for pool in (*pools, unit)] == ["inactive", "active", "active"]
    finally:
        machine.run("systemctl", "stop", *(f"{pool.name}.service" for pool in pools), check=False)


def test_reload_with_bad_settings_fails_and_changes_nothing(
    unit: Unit, stage: Stage, defaults: dict[str, object], took: Took
) -> None:
    """`systemctl reload` says so, its reason is in the journal as an error, the pool goes on with the old settings."""
    before = unit.pids()
    unit.configure({**defaults, "WORKERS": "many"})
    seconds, done = unit.systemctl("reload", check=False)
    took("systemctl reload that is refused", seconds)
    assert done.returncode == 1
    refused = unit.wait_event("pool.reload_refused")
    assert "WORKERS: 'many' is not a whole number" in refused["reason"]
    assert refused["PRIORITY"] == "3"
    assert "WORKERS: 'many' is not a whole number" in unit.said(), "also by the command itself"
    assert unit.state() == "active"
    stage.push("nap", "g")
    stage.result()
    assert unit.pids() == before


def test_reload_under_load_replaces_all_and_loses_nothing(
    unit: Unit, stage: Stage, defaults: dict[str, object], took: Took
) -> None:
    """It returns when the settings are checked, while a worker still has an item that the roll waits for."""
    stage.push("hold", "held")
    stage.started("held")
    graphs = naps(stage, "r", 40)
    before = {unit.worker(slot) for slot in (1, 2)}
    supervisor = unit.main_pid()
    unit.configure({**defaults, "WORKERS": 3, "LOG_LEVEL": "debug"})
    seconds, _ = unit.systemctl("reload")
    took("systemctl reload, while an item is held", seconds)
    assert unit.state() == "active", "for systemd the reload is over"
    assert not stage.results("held")
    wait_until(lambda: len(unit.rows()) == 3, 20, "the third slot")
    stage.journal.let_go("held")
    stage.assert_settled_once(["held", *graphs])
    assert_run_once(stage, ["held", *graphs])
    unit.wait_event("pool.reloaded")
    assert unit.main_pid() == supervisor
    assert not before & {unit.worker(slot) for slot in (1, 2, 3)}
    assert unit.restarts() == 0


def test_killed_supervisor_leaves_nobody_and_is_restarted(unit: Unit, stage: Stage, took: Took) -> None:
    """Not even a tool's child that has daemonised; what was in hand runs again."""
    stage.push("leave_child", "g", how="daemon")
    stage.started("g")
    stage.push("hold_first", "h")
    stage.started("h")
    wait_until(lambda: len(unit.pids()) == 5, 10, lambda: f"the daemon is there: {unit.pids()}")
    before, restarts = unit.pids(), unit.restarts()
    began = time.monotonic()
    kill(unit.main_pid())
    unit.wait_restarted(restarts)
    took("supervisor killed to READY again", time.monotonic() - began)
    wait_until(lambda: not [pid for pid in before if alive(pid)], 5, "nobody is left")
    stage.journal.let_go("g")
    assert stage.result("h", seconds=30)["data"]["output"] == "again"
    stage.result("g", seconds=30)


@pytest.mark.unit(NODE_TIMEOUT=1, TOOL_TIMEOUT=1, LLM_TIMEOUT=1, MAX_DELIVERIES=2)
def test_stopped_worker_is_ended_at_its_items_time(unit: Unit, stage: Stage, took: Took) -> None:
    """A worker that stands still (SIGSTOP) has its item's time; then it is replaced, and others never noticed."""
    stage.push("hang", "stopped", how="stopped")
    fact = stage.started("stopped")
    graphs = naps(stage, "n", 10)
    event = stage.result("stopped")
    took("a stopped worker's item has failed", time.monotonic() - fact.at)
    assert event["data"]["error_code"] == "node_timeout"
    stage.assert_settled_once(["stopped", *graphs])
    wait_until(lambda: [row["state"] for row in unit.rows()] == ["idle", "idle"], 20, "both slots are up again")
    assert unit.restarts() == 0


@pytest.mark.unit("MemoryMax=600M\nMemorySwapMax=0", MAX_DELIVERIES=2)
def test_worker_beyond_the_memory_limit_is_all_that_ends(unit: Unit, stage: Stage, took: Took) -> None:
    """The kernel ends the largest one; the unit goes on (OOMPolicy=continue), the item is given up after its runs."""
    if not unit.machine.limits_memory:
        cannot_run("systemd: the cgroups here limit no memory")
    supervisor = unit.main_pid()
    began = time.monotonic()
    stage.push("leak_memory", "fat", mib=1000)
    graphs = naps(stage, "m", 10)
    event = stage.result("fat", seconds=60)
    took("an item beyond MemoryMax was run twice and given up", time.monotonic() - began)
    assert event["data"]["error_code"] == "poisoned"
    assert len(stage.journal.starts("fat")) == 2
    wait_until(lambda: {graph for graph in graphs if stage.results(graph)} == set(graphs), 20, "the others' results")
    unit.wait_event("slot.dead", cause="signal:SIGKILL")
    assert (unit.main_pid(), unit.restarts(), unit.state()) == (supervisor, 0, "active")


@pytest.mark.unit("WatchdogSec=3")
def test_wedged_main_loop_is_restarted_by_the_watchdog(unit: Unit, stage: Stage, took: Took) -> None:
    """Workers and keeper are well and say nothing for it: only the main loop feeds the watchdog."""
    stage.push("hold_first", "g")
    stage.started("g")
    before, restarts = unit.pids(), unit.restarts()
    supervisor = unit.main_pid()
    began = time.monotonic()
    kill(supervisor, signal.SIGSTOP)
    unit.wait_restarted(restarts)
    took("main loop wedged to READY again (WatchdogSec=3)", time.monotonic() - began)
    wait_until(lambda: not [pid for pid in before if alive(pid)], 5, "nobody is left")
    assert "Watchdog timeout" in unit.said(200)
    assert stage.result(seconds=30)["data"]["output"] == "again"


@pytest.mark.unit("WatchdogSec=6")
def test_upgrade_hands_the_unit_on(unit: Unit, stage: Stage, took: Took) -> None:
    """USR2: a new main process, which feeds the watchdog; no restart; what the old one held is finished by it."""
    stage.push("hold", "held")
    stage.started("held")
    old = unit.main_pid()
    began = time.monotonic()
    kill(old, signal.SIGUSR2)
    wait_until(lambda: unit.main_pid() != old, 60, lambda: f"another main process\n{unit.said()}", every=0.05)
    took("USR2 to the successor being the main process", time.monotonic() - began)
    stage.push("nap", "new")
    stage.result("new")
    stage.journal.let_go("held")
    stage.assert_settled_once(["held", "new"])
    assert_run_once(stage, ["held", "new"])
    wait_until(lambda: not alive(old), 20, "the old pool to end")
    holds_for(lambda: unit.state() == "active", 7, "longer than the watchdog's time", every=1.0)
    assert unit.restarts() == 0
    assert unit.show("StatusText")["StatusText"].startswith("running, 2 of 2 workers ready")
    assert '"pid"' in unit.ctl("status", "--json").stdout


def test_stop_after_an_upgrade_drains(unit: Unit, stage: Stage) -> None:
    """Systemd waits for the end of the successor as it did for that of the process it has started itself."""
    old = unit.main_pid()
    kill(old, signal.SIGUSR2)
    wait_until(lambda: not alive(old), 60, lambda: f"the old pool to end\n{unit.said()}", every=0.05)
    assert "not our child" not in unit.said()
    stage.push("hold", "held")
    stage.started("held")
    unit.systemctl("stop", "--no-block")
    wait_until(lambda: unit.state() == "deactivating", 10, unit.said, every=0.05)
    holds_for(lambda: unit.state() == "deactivating", 1.0, "it is waited for", every=0.2)
    stage.journal.let_go("held")
    wait_until(lambda: unit.state() != "deactivating", 60, unit.said, every=0.05)
    assert unit.show("ActiveState", "Result") == {"ActiveState": "inactive", "Result": "success"}
    stage.assert_settled_once(["held"])
    assert_run_once(stage, ["held"])


@pytest.mark.unit("TimeoutStopSec=3")
def test_stop_under_load_finishes_what_is_held_and_loses_nothing(unit: Unit, stage: Stage, took: Took) -> None:
    """What was begun is finished, however short systemd's patience; the rest stays for the next start."""
    held = ["h1", "h2"]
    for graph in held:
        stage.push("hold", graph)
    stage.wait_running(2)
    waiting = naps(stage, "w", 20, 0)
    before = unit.pids()
    began = time.monotonic()
    unit.systemctl("stop", "--no-block")
    holds_for(lambda: unit.state() in ("active", "deactivating"), 5, "it asks for the time of a drain", every=0.3)
    for graph in held:
        stage.journal.let_go(graph)
    let_go = time.monotonic()
    wait_until(lambda: unit.state() not in ("active", "deactivating"), 60, unit.said, every=0.05)
    took("systemctl stop, two items in hand", time.monotonic() - began)
    took("last item settled to unit stopped", time.monotonic() - let_go)
    assert unit.show("ActiveState", "Result", "ExecMainStatus") == {
        "ActiveState": "inactive",
        "Result": "success",
        "ExecMainStatus": "0",
    }
    assert not unit.pids() and not [pid for pid in before if alive(pid)]
    assert sorted(event["graph_id"] for event in stage.results()) == held
    assert not stage.pending()
    unit.systemctl("start")
    stage.assert_settled_once([*held, *waiting])
    assert_run_once(stage, [*held, *waiting])


def test_wrong_settings_at_start_fail_for_good(unit: Unit, defaults: dict[str, object], took: Took) -> None:
    """Status 78, with the fix in the journal; starting again would not help, so it is not tried."""
    unit.systemctl("stop")
    unit.configure({**defaults, "LEASE": "soon"})
    seconds, done = unit.systemctl("start", check=False)
    took("systemctl start with wrong settings, to its failure", seconds)
    assert done.returncode != 0
    assert unit.show("ActiveState", "ExecMainStatus", "NRestarts") == {
        "ActiveState": "failed",
        "ExecMainStatus": "78",
        "NRestarts": "0",
    }
    errors = unit.machine.run("journalctl", "--unit", unit.name, "--priority", "err", "--output", "cat").stdout
    assert "LEASE: 'soon' is not a duration" in errors
