"""The generated CRDs: up to date, structural, bounded, explained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cinderbank.api.crd import crd, render_all, schema_hash
from cinderbank.api.reference import render_reference
from cinderbank.api.v1alpha1 import RESOURCES, VOLUME_BACKUP
from cinderbank.cli import crds as command

ROOT = Path(__file__).resolve().parents[3]
Schema = dict[str, Any]

# Of what a JSON Schema may hold, all that we use and that an API server takes.
KEYWORDS = {
    "type", "format", "description", "default", "enum", "required", "properties", "items",
    "additionalProperties", "minLength", "maxLength", "pattern", "minimum", "maximum",
    "minItems", "maxItems", "maxProperties", "x-kubernetes-validations",
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
}  # fmt: skip


def schemas(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from schemas(part, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from schemas(schema[key], f"{path}[]")


def root(resource: Any) -> Schema:
    found: Schema = crd(resource)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


FIELDS = {
    path: schema
    for resource in RESOURCES
    for part in ("spec", "status")
    for path, schema in schemas(root(resource)["properties"][part], f"{resource.kind}.{part}")
}


def test_the_files_are_what_the_models_make() -> None:
    assert command.run(["--check", str(ROOT)]) == 0, "run `make crds`"


def test_check_tells_a_stale_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(["--write", str(tmp_path)]) == 0
    assert command.run(["--check", str(tmp_path)]) == 0
    (tmp_path / "crds" / "backupbanks.cinderbank.io.yaml").write_text("edited by hand")
    assert command.run(["--check", str(tmp_path)]) == 1
    assert "make crds" in capsys.readouterr().err


def test_without_options_all_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run([]) == 0
    assert capsys.readouterr().out == "".join(render_all().values())


def test_every_schema_is_one_that_kubernetes_takes() -> None:
    types = {"object", "array", "string", "integer", "boolean"}
    assert [path for path, schema in FIELDS.items() if not schema.keys() <= KEYWORDS] == []
    assert [path for path, schema in FIELDS.items() if schema["type"] not in types] == []
    both = {"properties", "additionalProperties"}
    assert [path for path, schema in FIELDS.items() if schema.keys() >= both] == []


def is_bounded(schema: Schema) -> bool:
    match schema["type"]:
        case "string":
            return "maxLength" in schema or "enum" in schema or "format" in schema
        case "array":
            return "maxItems" in schema
        case "object" if "additionalProperties" in schema:
            return "maxProperties" in schema
        case _:
            return True


def test_everything_is_bounded() -> None:
    """CEL's cost is reckoned from the bounds, and what is stored must stay small."""
    assert [path for path, schema in FIELDS.items() if not is_bounded(schema)] == []


def test_every_field_is_explained() -> None:
    named = {path: schema for path, schema in FIELDS.items() if not path.endswith("[]")}
    short = [path for path, schema in named.items() if len(schema.get("description", "")) < 12]
    assert short == []


def test_every_rule_has_a_message() -> None:
    rules = [rule for each in FIELDS.values() for rule in each.get("x-kubernetes-validations", ())]
    assert len(rules) > 50
    assert all(rule["message"] and not rule["message"].endswith(".") for rule in rules)


def test_defaults_are_only_such_as_say_something() -> None:
    """A default of false or {} is a difference between Git and the cluster, and nothing else."""
    empty: tuple[object, ...] = (False, 0, "", None, [], {})
    defaults = {path: each["default"] for path, each in FIELDS.items() if "default" in each}
    assert [path for path, default in defaults.items() if default in empty] == []
    nested = {path: default for path, default in defaults.items() if isinstance(default, dict)}
    assert [path for path, default in nested.items() if None in default.values()] == [], (
        "the API server refuses a kind with a default of null"
    )


def test_an_unseen_object_is_not_ready() -> None:
    """Without this default, kstatus calls an object that no operator has seen Current."""
    for resource in RESOURCES:
        [condition] = root(resource)["properties"]["status"]["default"]["conditions"]
        assert (condition["type"], condition["status"]) == ("Ready", "Unknown")


def test_every_kind_is_reachable_by_short_name_and_category() -> None:
    names = {resource.kind: crd(resource)["spec"]["names"] for resource in RESOURCES}
    assert {kind: found["shortNames"] for kind, found in names.items()} == {
        "VolumeBackup": ["vbk"],
        "VolumeRestore": ["vrs"],
        "VolumeBackupPolicy": ["vbp"],
        "BackupBank": ["bank"],
        "RecoveryPoint": ["rp"],
        "BankCheck": ["bchk"],
    }
    without = {kind for kind, found in names.items() if found.get("categories") != ["cinderbank"]}
    assert without == {"RecoveryPoint"}


def test_the_hash_is_of_the_schema() -> None:
    assert len({schema_hash(resource) for resource in RESOURCES}) == len(RESOURCES)
    assert crd(VOLUME_BACKUP)["metadata"]["annotations"] == {
        "cinderbank.io/schema-hash": schema_hash(VOLUME_BACKUP)
    }


def test_the_reference_names_every_field() -> None:
    page = render_reference()
    for path in FIELDS:
        field = path.split(".", 1)[1]
        if "." in field and not field.endswith("[]"):
            assert f"| `{field}` |" in page
