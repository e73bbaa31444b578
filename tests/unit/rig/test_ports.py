"""The rig's ports: kept between commands, never shared, and a stranger on one is named."""

import os
import socket
from pathlib import Path

import pytest

from tests.rig import ports


def test_a_block_is_kept(tmp_path: Path) -> None:
    first = ports.choose(tmp_path)

    assert ports.choose(tmp_path).first == first.first
    assert ports.load(tmp_path) is not None


def test_no_ports_before_the_first_up(tmp_path: Path) -> None:
    assert ports.load(tmp_path) is None


def test_every_name_has_its_own_port_inside_the_block() -> None:
    numbers = ports.Ports(15000).as_dict()

    assert len(set(numbers.values())) == len(ports.NAMES)
    assert max(numbers.values()) < 15000 + ports.BLOCK_PORTS


def test_no_block_reaches_into_the_ports_of_outgoing_connections() -> None:
    assert ports.FIRST_PORT + ports.BLOCKS * ports.BLOCK_PORTS <= 32768


def test_a_block_with_a_listener_in_it_is_passed_over(tmp_path: Path) -> None:
    usual = ports.choose(tmp_path / "first").first
    (tmp_path / "first" / "ports.json").unlink()

    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", usual + ports.BLOCK_PORTS - 1))
        stranger.listen()

        assert ports.choose(tmp_path / "first").first != usual


def test_who_holds_a_port_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]

        with pytest.raises(ports.PortTaken, match=rf"port {port} .*process {os.getpid()}: \S"):
            ports.refuse_taken([port])


def test_a_free_port_is_not_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as passing:
        port = passing.getsockname()[1]

    ports.refuse_taken([port])
