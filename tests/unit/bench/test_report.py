"""From measurements to figures, tables and files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench import names, report
from tests.bench.figures import HEADLINES, PEAK_RSS, RATIOS, Ratio, figures, noise, spread
from tests.bench.measurement import Measurement, PartResult, Summary, load, save, summary

MACHINE = {"processor": "a | b", "cores": "2"}
PROMISED = {
    "sparse_backup_vs_cinder_backup",
    "sparse_restore_vs_cinder_backup",
    "full_backup_vs_cinder_backup",
    "full_restore_vs_cinder_backup",
    "incremental_unchanged_vs_cinder_backup",
    "data_path_vs_curl",
    "data_path_vs_restic",
    "data_path_vs_borg",
}


def part(name: str, *rows: Measurement, boot_id: str = "this") -> PartResult:
    return PartResult(
        name, "2026-01-01T00:00:00+00:00", f"2026-01-01T00:10:00+00:00 {name}", boot_id, "abc",
        False, 2, (1.0, 1.1, 1.5), {"restic": "0.14"}, rows,
    )  # fmt: skip


def backup(tool: str, *seconds: float | None) -> list[Measurement]:
    return [
        Measurement(
            names.FULL, tool, "sparse", turn, each, 1.0, 2.0, 80.0, 2, 0.1,
            stages={"Imaging": 0.5} if tool in (names.OWN, names.OWN_ON_CEPH) else {},
            error=None if each is not None else "refused: 400\nno",
        )
        for turn, each in enumerate(seconds)
    ]  # fmt: skip


PEERS = part("peers", *backup(names.OWN, 10, 30, 20), *backup(names.ZLIB, 50, 30, None))
MEMORY = part(
    "memory",
    *(
        Measurement(names.PEAK, names.OWN, case, seconds=1, peak_mib=peak)
        for case, peak in (("1 GiB", 80.5), ("100 GiB", 90.25))
    ),
)


def test_summary_is_of_what_succeeded() -> None:
    rows = PEERS.measurements
    assert summary(rows, names.FULL, names.OWN, "sparse") == Summary(20, 10, 30, 3)
    assert summary(rows, names.FULL, names.ZLIB, "sparse") == Summary(40, 30, 50, 2)
    assert summary(rows, names.FULL, names.ZSTD, "sparse") is None
    assert summary(rows, names.FULL, names.OWN, "sparse", "peak_mib") == Summary(80, 80, 80, 3)


def test_a_ratio_is_peer_by_ours() -> None:
    values, missing = figures({"peers": PEERS, "memory": MEMORY})
    assert values["sparse_backup_vs_cinder_backup"] == 2.0
    assert values[PEAK_RSS] == 90.25
    assert {name for name, value in values.items() if value is None} == set(missing)


def test_what_was_promised_is_there_or_has_a_reason() -> None:
    values, missing = figures({})
    assert set(values) >= PROMISED | {PEAK_RSS}
    assert set(values) == set(missing) == {*RATIOS, PEAK_RSS}
    assert set(HEADLINES) <= set(values)
    assert "not been run" in missing["data_path_vs_curl"]


def test_a_failure_is_the_reason() -> None:
    failed = part("peers", *backup(names.OWN, None), *backup(names.ZLIB, 5))
    values, missing = figures({"peers": failed})
    assert values["sparse_backup_vs_cinder_backup"] is None
    assert missing["sparse_backup_vs_cinder_backup"].startswith("cinderbank, sparse: refused: 400")
    assert "was not reached" in missing["sparse_restore_vs_cinder_backup"]


def test_a_peak_that_was_not_seen_is_no_peak() -> None:
    failed = part("memory", Measurement(names.PEAK, names.OWN, "100 GiB", error="killed"))
    values, missing = figures({"memory": failed})
    assert (values[PEAK_RSS], missing[PEAK_RSS]) == (None, "100 GiB: killed")


def test_restic_is_compared_with_what_encrypts_as_it_does() -> None:
    assert RATIOS["data_path_vs_restic"].own == names.OWN_ENCRYPTED
    assert RATIOS["data_path_vs_borg"].own == names.OWN


@pytest.mark.parametrize(
    ("name", "action", "case", "peer"),
    [
        ("full_restore_on_ceph_vs_cinder_backup", names.RESTORE, "full", names.ZLIB),
        ("half_backup_on_ceph_vs_cinder_backup_zstd", names.FULL, "half", names.ZSTD),
        ("sparse_incremental_unchanged_on_ceph_vs_cinder_backup", names.INCREMENTAL, "sparse",
         names.ZLIB),
        ("full_restore_on_ceph_vs_glance_by_hand", names.RESTORE, "full", names.BY_HAND_ON_CEPH),
    ],
)  # fmt: skip
def test_what_is_called_on_ceph_is_ours_on_ceph(
    name: str, action: str, case: str, peer: str
) -> None:
    assert RATIOS[name] == Ratio("peers", action, case, peer, names.OWN_ON_CEPH)


def test_the_names_beside_ceph_are_those_of_before() -> None:
    shorts = ("backup", "restore", "incremental_unchanged")
    expected = {
        *(f"{case}_{short}_vs_cinder_backup{suffix}"
          for case in names.USED_PERCENT for short in shorts for suffix in ("", "_zstd")),
        *(f"{case}_restore_vs_glance_by_hand" for case in names.USED_PERCENT),
        "incremental_unchanged_vs_cinder_backup",
    }  # fmt: skip
    found = {name for name, ratio in RATIOS.items() if ratio.part == "peers"}
    assert {name for name in found if "_on_ceph_" not in name} == expected
    assert {RATIOS[name].own for name in expected} == {names.OWN}


def test_the_headline_on_ceph_follows_the_one_by_hand() -> None:
    at = HEADLINES.index("full_restore_vs_glance_by_hand")
    assert HEADLINES[at + 1] == "full_restore_on_ceph_vs_cinder_backup"


def test_a_place_of_images_has_rows_and_phases_of_its_own(tmp_path: Path) -> None:
    rows = [
        *backup(names.OWN, 10),
        *backup(names.OWN_ON_CEPH, 6),
        Measurement(names.RESTORE, names.BY_HAND, "sparse", seconds=4.0),
        Measurement(names.RESTORE, names.BY_HAND_ON_CEPH, "sparse", seconds=3.0),
    ]
    report.write(tmp_path, {"peers": part("peers", *rows)}, MACHINE)
    text = (tmp_path / "benchmarks.md").read_text()
    assert "| backup | cinderbank, Glance in Ceph | 6.0 |" in text
    assert "| restore | Glance by hand | 4.0 |" in text
    assert "| restore | Glance by hand, in Ceph | 3.0 |" in text
    assert "| sparse | backup | cinderbank, Glance in Ceph | Imaging 0.5 |" in text


def test_noise() -> None:
    assert spread([1.0, 1.1, 1.5])["spread_percent"] == 45.5
    found = noise({"peers": PEERS, "memory": MEMORY})
    assert (found["all"]["count"], found["peers"]["count"]) == (6, 3)
    assert noise({}) == {"all": None}


def test_a_part_is_read_back_as_it_was(tmp_path: Path) -> None:
    save(tmp_path, PEERS)
    assert load(tmp_path, "this", ["peers", "path"]) == {"peers": PEERS}


def test_a_part_of_another_boot_is_no_result(tmp_path: Path) -> None:
    save(tmp_path, PEERS)
    assert load(tmp_path, "another", ["peers"]) == {}


def test_the_report(tmp_path: Path) -> None:
    path = part(
        "path",
        *(Measurement(names.STORE, tool, names.RANDOM, 0, 2.0, 1, 1, 1, 2, 2)
          for tool in (names.OWN, names.CURL)),
    )  # fmt: skip
    growth = part(
        "growth",
        Measurement(names.FULL, names.OWN, f"{names.BY_SIZE}: 1 GiB", 0, 9.0, 1, 1, 1, 1, 0.05),
    )
    policies = part(
        "policies",
        Measurement(
            names.AT_REST, names.OWN, "500 policies", 0, 600.0, 5.0, 9.0, 120.0,
            api_writes={"volumebackuppolicies/status APPLY": 20, "events POST": 0},
        ),
        Measurement(names.ONE_RUN, names.OWN, "500 policies", error="away"),
    )  # fmt: skip
    results = {
        "peers": PEERS,
        "path": path,
        "growth": growth,
        "memory": MEMORY,
        "policies": policies,
    }
    report.write(tmp_path, results, MACHINE)
    text = (tmp_path / "benchmarks.md").read_text()
    assert "| `sparse_backup_vs_cinder_backup` | 2.00 |" in text
    assert "| backup | cinderbank | 20.0 | 10.0..30.0 | 107 | 1.0 | 2.0 | 80.0 |" in text
    assert "- cinder-backup zlib, backup, round 3: refused: 400 no" in text
    assert "| sparse | backup | cinderbank | Imaging 0.5 |" in text
    assert "a \\| b" in text
    assert "curl \\| curl" in text
    assert "restic: 0.14" in text
    assert "| by size: 1 GiB | backup | 9.0 |" in text
    assert "| 100 GiB | 90 |" in text
    assert "| at rest | 600.0 | 5.00 | 120 | 20 | volumebackuppolicies/status APPLY 20 |" in text
    assert "At rest, 500 policies: 30 s of CPU an hour, 2.0 writes a minute." in text
    assert "| a run of all of them | – | – | – | 0 | away |" in text
    body = json.loads((tmp_path / "benchmarks.json").read_text())
    assert set(body) == {"date", "machine", "ratios", "missing", "noise", "raw"}
    assert body["ratios"]["data_path_vs_curl"] == 1.0
    assert body["ratios"]["data_path_vs_borg"] is None
    assert len(body["raw"]["peers"]["measurements"]) == 6


def test_a_report_of_one_part_says_what_it_lacks(tmp_path: Path) -> None:
    report.write(tmp_path, {"memory": MEMORY}, MACHINE)
    assert (tmp_path / "benchmarks.md").read_text().count("This part has not been run.") == 4


@pytest.mark.parametrize("name", sorted(PROMISED))
def test_a_figure_of_the_json_is_larger_when_we_are_faster(name: str) -> None:
    ratio = RATIOS[name]
    rows = [
        Measurement(ratio.action, tool, ratio.case, seconds=seconds)
        for tool, seconds in ((ratio.own, 1.0), (ratio.peer, 3.0))
    ]
    assert figures({ratio.part: part(ratio.part, *rows)})[0][name] == 3.0
