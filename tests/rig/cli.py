"""Reads the command line and runs one command of the rig."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.rig.rig import Rig


def main(words: list[str]) -> int:
    """Exit code of the command: 0 done, 1 failed, 2 cannot be tried (the message says why)."""
    choice = _parser().parse_args(words)
    if choice.command == "preflight":
        from tests.rig import preflight

        return preflight.main(choice.purpose)
    try:
        return int(globals()[f"_{choice.command}"](choice) or 0)
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # `status | head`: nobody reads on. Python would complain again when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if type(error).__module__.startswith("tests.rig"):
            print(f"\nThe rig: {error}", file=sys.stderr)
            return 1
        raise


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m tests.rig", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="bring the rig up, or what is missing of it")
    up.add_argument(
        "--only",
        action="append",
        default=[],
        help="openstack, kubernetes, s3, peers, csi, barbican, a part",
    )
    commands.add_parser("down", help="end the rig and remove its state")
    status = commands.add_parser("status", help="what runs, with process, ports and log")
    status.add_argument("--quiet", action="store_true", help="only the exit code: 0 if it is up")
    for name, text in (
        ("start", "start a service and wait until it is ready"),
        ("stop", "ask a service to end and wait until it is gone"),
        ("kill", "SIGKILL a service with its children"),
    ):
        commands.add_parser(name, help=text).add_argument("name")
    commands.add_parser("env", help="write .rig/env again and print where it is")
    check = commands.add_parser("preflight", help="say what a command would do to this machine")
    check.add_argument("purpose", nargs="?", default="up", choices=("bench", "demo", "test", "up"))
    return parser


def _up(choice: argparse.Namespace) -> int:
    from tests.rig import preflight
    from tests.rig.up import up

    problems = preflight.problems()
    if problems:
        return preflight.refuse(problems)
    up(choice.only)
    return 0


def _down(_choice: argparse.Namespace) -> None:
    from tests.rig.down import down

    down()


def _status(choice: argparse.Namespace) -> int:
    """0 when an `up` has come to its end and all that it started still runs, else 1."""
    from tests.rig.rig import Rig, RigIsDown

    try:
        rig = Rig.open()
    except RigIsDown as error:
        if not choice.quiet:
            print(error)
        return 1
    if not choice.quiet:
        _print_status(rig)
    return 0 if rig.is_up else 1


def _print_status(rig: Rig) -> None:
    for part in rig.parts:
        for service in part.services(rig):
            pid = rig.supervisor.pid(service.name)
            what = "down" if pid is None else "ready" if service.ready() else "not ready"
            ports = ",".join(map(str, service.ports))
            print(f"{service.name:36} {what:10} {pid or '':>8} {ports:>18}  {service.log}")


def _start(choice: argparse.Namespace) -> None:
    from tests.rig.rig import Rig

    rig = Rig.open()
    new = rig.supervisor.start(choice.name)
    seconds = rig.supervisor.wait_ready(choice.name)
    print(f"{choice.name} is ready ({seconds:.1f} s)" if new else f"{choice.name} runs already")


def _stop(choice: argparse.Namespace) -> None:
    from tests.rig.rig import Rig

    Rig.open().supervisor.stop(choice.name)


def _kill(choice: argparse.Namespace) -> None:
    from tests.rig.rig import Rig

    Rig.open().supervisor.kill(choice.name)


def _env(_choice: argparse.Namespace) -> None:
    from tests.rig import environment
    from tests.rig.rig import Rig

    print(environment.write(Rig.open()))
