"""CRDs from the models: what Kubernetes asks of a structural schema and JSON Schema does otherwise.

`make crds` writes them; a test fails when crds/ is not what this makes.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import yaml
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from cinderbank.api.v1alpha1 import RESOURCES
from cinderbank.api.v1alpha1.model import RULES, ApiModel
from cinderbank.api.v1alpha1.resource import CATEGORY, GROUP, NAME_RULE, VERSION, Column, Resource

HASH_ANNOTATION = f"{GROUP}/schema-hash"
"""On every CRD: which schema a cluster serves, to be compared with what `cinderbank crds` prints."""

HEADER = """\
# Generated from operator/cinderbank/api/v1alpha1 by `make crds`.
# Do not edit: change the models, and run that.
"""


def render_all() -> dict[str, str]:
    """File name -> YAML text of every CRD."""
    return {f"{each.crd_name}.yaml": HEADER + render_yaml(crd(each)) for each in RESOURCES}


def render_yaml(document: dict[str, Any]) -> str:
    return yaml.dump(
        document, Dumper=_Plain, sort_keys=False, width=100, allow_unicode=True, explicit_start=True
    )


class _Plain(yaml.SafeDumper):
    """No anchors: equal parts of a schema are written out, as Kubernetes tools expect."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def schema_hash(resource: Resource) -> str:
    """Changes whenever a user could see a difference in the schema of this kind."""
    text = json.dumps(_schema(resource), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def crd(resource: Resource) -> dict[str, Any]:
    """The CustomResourceDefinition of one kind."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": resource.crd_name,
            "labels": {"app.kubernetes.io/name": "cinderbank"},
            "annotations": {HASH_ANNOTATION: schema_hash(resource)},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.singular,
                "shortNames": [resource.short_name],
                # A thousand mirrors would hide the rest of `kubectl get cinderbank`.
                **({"categories": [CATEGORY]} if resource.watched else {}),
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(each) for each in resource.columns],
                    "schema": {"openAPIV3Schema": _schema(resource)},
                }
            ],
        },
    }


def _column(column: Column) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": column.name,
        "type": column.type,
        "description": column.description,
        "jsonPath": column.path,
    }
    return {**found, "priority": 1} if column.wide else found


def _schema(resource: Resource) -> dict[str, Any]:
    status = structural_schema(resource.status)
    if resource.status_default:
        status["default"] = resource.status_default
    return {
        "description": resource.description,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {
                "description": f"{GROUP}/{VERSION}: group and version of this object.",
                "type": "string",
            },
            "kind": {"description": f"{resource.kind}: what this object is.", "type": "string"},
            "metadata": {"type": "object"},
            "spec": structural_schema(resource.spec),
            "status": status,
        },
        RULES: [NAME_RULE],
    }


def structural_schema(model: type[ApiModel]) -> dict[str, Any]:
    """The schema of `model` with no $ref, null, title, or keyword that an API server refuses."""
    whole = model.model_json_schema(by_alias=True, schema_generator=_OpenApi3, mode="validation")
    definitions = whole.pop("$defs", {})
    found = _structural(whole, definitions)
    assert isinstance(found, dict)
    return found


class _OpenApi3(GenerateJsonSchema):
    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """A missing field is how Kubernetes says null: the type stays what it is."""
        return self.generate_inner(schema["schema"])


def _structural(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    merged = _inlined(schema, definitions)
    if isinstance(merged.get("default"), dict):
        # A null is no value of any type to the API server: what has no default is left out.
        given = {key: value for key, value in merged["default"].items() if value is not None}
        merged = {**merged, "default": given}
    found = {
        key: value
        for key, value in merged.items()
        # A property may be called title: those stand below `properties` and never come here.
        if key != "title" and not (key == "default" and value in (None, False, 0, "", [], {}))
    }
    # Falsy defaults go: they say nothing, and make a difference between Git and the cluster.
    if "const" in found:
        found["enum"] = [found.pop("const")]
    if found.get("type") == "integer":
        found["format"] = "int64"
    if "properties" in found:
        found["properties"] = {
            name: _structural(part, definitions) for name, part in found["properties"].items()
        }
    for key in ("items", "additionalProperties"):
        if isinstance(found.get(key), dict):
            found[key] = _structural(found[key], definitions)
    return {key: found[key] for key in sorted(found, key=_rank)}


def _inlined(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """`schema` with what it refers to; its own words (a field's description) go first."""
    if "$ref" not in schema:
        return schema
    name = schema["$ref"].removeprefix("#/$defs/")
    own = {key: value for key, value in schema.items() if key != "$ref"}
    return {**_inlined(definitions[name], definitions), **own}


_ORDER = ("description", "type", "format", "default", "enum")


def _rank(key: str) -> tuple[int, str]:
    """Words first, then the type, parts and rules last: as one reads it."""
    if key in _ORDER:
        return _ORDER.index(key), ""
    late = ("required", "properties", RULES)
    return (len(_ORDER) + 1 + late.index(key), "") if key in late else (len(_ORDER), key)
