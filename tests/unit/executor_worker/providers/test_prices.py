"""The table of prices: what it takes, what it says of one that can't be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from executor_worker.errors import ConfigError
from executor_worker.outcome import Usage
from executor_worker.providers.prices import Price, Prices

TABLE: dict[str, Any] = {
    "claude-sonnet-5-5": {"input": 3, "output": 15, "cache_read": 0.3, "cache_write": 3.75},
    "gpt-5": {"input": 2, "output": 8},
}


def load(folder: Path, content: str) -> Prices:
    file = folder / "prices.json"
    file.write_text(content)
    return Prices.load(str(file))


def test_a_table_is_read(tmp_path: Path) -> None:
    """Per million tokens; what a cache costs is the same as without where it is not named."""
    prices = load(tmp_path, json.dumps(TABLE))
    assert prices.find("claude-sonnet-5-5") == Price(3, 15, 0.3, 3.75)
    assert prices.find("gpt-5") == Price(2, 8, 2, 2)
    sonnet = prices.find("claude-sonnet-5-5")
    assert sonnet is not None
    assert sonnet.of(Usage(1_000_000, 100_000, 2_000_000, 10_000)) == pytest.approx(3 + 1.5 + 0.6 + 0.0375)


@pytest.mark.parametrize(
    ("model", "known"),
    [
        ("gpt-5-2026-08-07", True),
        ("claude-sonnet-5-5-20261001", True),
        ("claude-sonnet-5-5@20261001", True),
        ("gpt-5-mini", False),
        ("gpt-5-mini-2026-08-07", False),
        ("gpt", False),
    ],
)
def test_a_model_is_found_by_its_name_without_a_date(tmp_path: Path, model: str, known: bool) -> None:
    """Never by a name that only begins alike: that is another model at another price."""
    assert (load(tmp_path, json.dumps(TABLE)).find(model) is not None) is known


def test_a_models_window_may_stand_in_it(tmp_path: Path) -> None:
    """In tokens; not known where it is left out."""
    prices = load(tmp_path, '{"a": {"input": 0, "output": 0, "context_window": 8192}, "b": {"input": 0, "output": 0}}')
    assert [price.context_window for price in prices.table.values()] == [8192, None]


def test_no_file_is_an_empty_table() -> None:
    """Nothing is known then."""
    assert Prices.load("").find("gpt-5") is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "is no JSON object"),
        ('{"m": 3}', "'m': a price is an object of input and output"),
        ('{"m": {"input": 3}}', "a price is an object of input and output"),
        ('{"m": {"input": 3, "output": 1, "ouput": 2}}', "a price is an object of input and output"),
        ('{"m": {"input": -3, "output": 1}}', "input must be a number of at least 0"),
        ('{"m": {"input": 3, "output": "1"}}', "output must be a number of at least 0"),
        ('{"m": {"input": 3, "output": NaN}}', "output must be a number of at least 0"),
        ('{"m": {"input": true, "output": 1}}', "input must be a number of at least 0"),
    ],
)
def test_a_table_that_can_not_be_used_is_a_config_error(tmp_path: Path, content: str, said: str) -> None:
    """The variable, the file and the place in it are named."""
    with pytest.raises(ConfigError, match="LLM_PRICES") as raised:
        load(tmp_path, content)
    assert said in str(raised.value)
    assert "prices.json" in str(raised.value)


def test_a_file_that_is_not_there_is_a_config_error(tmp_path: Path) -> None:
    """With what the system says."""
    with pytest.raises(ConfigError, match="No such file"):
        Prices.load(str(tmp_path / "none.json"))
