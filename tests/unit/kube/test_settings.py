"""Settings: what is wrong stops the start and says the way out; the reference is what the code says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cinderbank.adapters.prometheus import metrics_reference
from cinderbank.config import Settings, SettingsError, load_settings, settings_reference

ROOT = Path(__file__).resolve().parents[3]


def test_nothing_set_is_the_defaults() -> None:
    assert load_settings({"PATH": "/bin"}) == Settings()


def test_values_are_read() -> None:
    found = load_settings(
        {"CINDERBANK_NAMESPACES": " team-a, team-b,team-a ", "CINDERBANK_LISTEN_PORT": "0"}
    )
    assert found.namespaces == ("team-a", "team-b")
    assert found.listen_port == 0


def test_an_option_wins() -> None:
    found = load_settings({"CINDERBANK_LOG_LEVEL": "error"}, log_level="debug", listen_port=None)
    assert found.log_level == "debug"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CINDERBANK_MAX_CONCURRENT_TICKS", "0"),
        ("CINDERBANK_MAX_CONCURRENT_TRANSFERS", "many"),
        ("CINDERBANK_RESYNC_INTERVAL_SECONDS", "-1"),
        ("CINDERBANK_RESYNC_INTERVAL_SECONDS", "nan"),
        ("CINDERBANK_LOG_FORMAT", "xml"),
        ("CINDERBANK_NAMESPACES", "Team_A"),
        ("CINDERBANK_LISTEN_PORT", "70000"),
    ],
)
def test_a_wrong_value_names_variable_value_and_way_out(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings({name: value})
    text = str(refused.value)
    assert name in text
    assert value in text
    assert "default" in text


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings({"CINDERBANK_LOG_LEVLE": "debug"})
    assert "CINDERBANK_LOG_LEVLE" in str(refused.value)
    assert "CINDERBANK_LOG_LEVEL" in str(refused.value)


def test_what_a_service_of_our_name_puts_into_pods_is_not_ours() -> None:
    links = {
        "CINDERBANK_OPERATOR_SERVICE_HOST": "10.0.0.7",
        "CINDERBANK_OPERATOR_SERVICE_PORT": "8080",
        "CINDERBANK_OPERATOR_SERVICE_PORT_HTTP": "8080",
        "CINDERBANK_OPERATOR_PORT": "tcp://10.0.0.7:8080",
        "CINDERBANK_OPERATOR_PORT_8080_TCP": "tcp://10.0.0.7:8080",
        "CINDERBANK_OPERATOR_PORT_8080_TCP_ADDR": "10.0.0.7",
        "CINDERBANK_LISTEN_PORT": "tcp://10.0.0.7:8080",
    }
    assert load_settings(links) == Settings()


def test_the_settings_reference_is_what_the_code_says() -> None:
    assert (ROOT / "docs/reference/settings.md").read_text() == settings_reference()


def test_the_metrics_reference_is_what_the_code_says() -> None:
    assert (ROOT / "docs/reference/metrics.md").read_text() == metrics_reference()


def run(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CINDERBANK_")}
    return subprocess.run(
        [sys.executable, "-m", "cinderbank", *words],
        env={**kept, "PYTHONPATH": str(ROOT / "operator"), **env},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_wrong_setting_ends_the_start_with_64() -> None:
    ended = run("operator", CINDERBANK_MAX_CONCURRENT_TICKS="none")
    assert ended.returncode == 64
    assert "CINDERBANK_MAX_CONCURRENT_TICKS='none'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_command_line_helps() -> None:
    helped = run("--help")
    assert helped.returncode == 0
    for command in ("operator", "transfer", "crds", "version"):
        assert command in helped.stdout
    unknown = run("restart")
    assert unknown.returncode == 64
    assert "restart" in unknown.stderr


def test_a_transfer_carries_neither_kopf_nor_the_kubernetes_client() -> None:
    asked = "import sys, cinderbank.cli.transfer; print(*(m.split('.')[0] for m in sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", asked],
        env={**os.environ, "PYTHONPATH": str(ROOT / "operator")},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout.split()
    assert not {"kopf", "kubernetes", "pydantic"} & set(loaded)
