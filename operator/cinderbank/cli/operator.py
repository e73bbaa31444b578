"""`cinderbank operator`: settings, then the wiring, then run until told to stop."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from cinderbank.cli import USAGE_ERROR
from cinderbank.config import LogFormat, LogLevel, SettingsError, load_settings


def run(argv: Sequence[str]) -> int:
    """Exit code: 0 after SIGTERM or SIGINT, 64 for wrong settings, 1 when the watches broke."""
    arguments = _parser().parse_args(argv)
    try:
        settings = load_settings(
            os.environ,
            namespaces=arguments.namespace,
            log_format=arguments.log_format,
            log_level=arguments.log_level,
            listen_address=arguments.listen_address,
            listen_port=arguments.listen_port,
        )
    except SettingsError as error:
        print(f"cinderbank: {error}", file=sys.stderr)
        return USAGE_ERROR
    from cinderbank.app import run_operator

    return run_operator(settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cinderbank operator",
        description="Watch VolumeBackups, VolumeRestores and BackupBanks and work on them. In a Pod it"
        " uses the Pod's ServiceAccount, elsewhere KUBECONFIG.",
        epilog="Every setting is a CINDERBANK_ variable (docs/reference/settings.md); an option given"
        " here wins.",
    )
    parser.add_argument(
        "--namespace",
        "-n",
        metavar="NAMES",
        help="comma separated namespaces to serve; all of the cluster when left out",
    )
    parser.add_argument("--log-format", choices=[each.value for each in LogFormat])
    parser.add_argument("--log-level", choices=[each.value for each in LogLevel])
    parser.add_argument(
        "--listen-address", metavar="ADDRESS", help="of /healthz, /readyz, /metrics"
    )
    parser.add_argument("--listen-port", metavar="PORT", help="of the same; 0 takes any free one")
    return parser
