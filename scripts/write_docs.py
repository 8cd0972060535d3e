"""Write what documents say of the settings: the table of docs/SETTINGS.md, comments of systemd/executor-worker.env."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from executor_worker.settings.catalogue import SettingField, setting_fields

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "SETTINGS.md"
ENVIRONMENT = ROOT / "systemd" / "executor-worker.env"
HEAD = "| variable | default | meaning |\n| --- | --- | --- |\n"


def main() -> int:
    """Write both; the exit status is 0."""
    PAGE.write_text(page(PAGE.read_text()))
    ENVIRONMENT.write_text(environment(ENVIRONMENT.read_text()))
    return 0


def page(text: str) -> str:
    """Put the settings' table in place of the one in *text*."""
    before = text.partition(HEAD)[0]
    return before + HEAD + "".join(_row(name, setting) for name, setting in setting_fields().items())


def environment(text: str) -> str:
    """Put each setting's comment above its line in *text*; one that has no line gets it after its neighbour's."""
    lines = text.splitlines()
    place = 0
    for name, setting in setting_fields().items():
        variable = f"{name.upper()}_FILE" if setting.secret else name.upper()
        found = [number for number, line in enumerate(lines) if line.startswith(f"#{variable}=")]
        if not found:
            lines[place + 1 : place + 1] = ["", f"#{variable}={_example(name, setting)}"]
            found = [place + 2]
        place = found[0]
        lines[place - 1] = _comment(setting, lines[place].partition("=")[2])
    return "\n".join(lines) + "\n"


def _row(name: str, setting: SettingField) -> str:
    others = ", ".join(
        f"`{other.upper()}`" for other in setting.names if other.upper() not in (name.upper(), f"{name.upper()}_FILE")
    )
    alias = f" (alias {others})" if others else ""
    default = setting.default if not setting.default or " " in setting.default else f"`{setting.default}`"
    return f"| `{name.upper()}`{alias} | {default} | {setting.meaning} |\n"


def _comment(setting: SettingField, example: str) -> str:
    default = _plain(setting.default)
    said = "" if not default or example == default or default.startswith("required") else f" Default: {default}."
    return f"# {_plain(setting.meaning)}.{said}"


def _example(name: str, setting: SettingField) -> str:
    return f"/run/secrets/{name}" if setting.secret else _plain(setting.default)


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("`", "")).strip()


if __name__ == "__main__":
    sys.exit(main())
