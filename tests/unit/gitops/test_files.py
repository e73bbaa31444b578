"""deploy/gitops and docs/gitops.md: what is named exists, and examples are objects that are taken."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cinderbank.api.v1alpha1 import RESOURCES
from cinderbank.api.v1alpha1.resource import API_VERSION
from tests.gitops import argocd, flux

ROOT = Path(__file__).resolve().parents[3]
DOC = (ROOT / "docs" / "gitops.md").read_text()
EXAMPLES = [
    each
    for block in re.findall(r"^```yaml\n(.*?)^```", DOC, re.M | re.S)
    for each in yaml.safe_load_all(block)
]


def test_nothing_is_written_twice() -> None:
    """One health script; one set of expressions, repeated by aliases."""
    entries = argocd.config_map()
    healths = {text for key, text in entries.items() if key.startswith(argocd.HEALTH)}
    assert len(healths) == 1
    assert len({tuple(sorted(each.items())) for each in flux.expressions().values()}) == 1
    text = flux.FILE.read_text()
    for field, _ in flux.ORDER:
        assert text.count(f"{field}: &{field} ") == 1
        assert text.count(f"{field}: *{field}\n") == len(RESOURCES) - 1


def test_entries_and_script_are_small_enough() -> None:
    """A ConfigMap holds 1 MiB, and argocd-cm is not ours."""
    assert sum(map(len, argocd.config_map().values())) < 64 << 10


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: str(each.get("kind", "lines")))
def test_examples_of_ours_are_taken(example: dict[str, Any]) -> None:
    kinds = {resource.kind: resource for resource in RESOURCES}
    if example.get("apiVersion") == API_VERSION:
        spec = kinds[example["kind"]].spec.read(example["spec"], "spec")
        assert set(example["spec"]) <= set(spec.dump())
    for annotation in example.get("metadata", {}).get("annotations", ()):
        assert re.match(r"(argocd\.argoproj\.io|kustomize\.toolkit\.fluxcd\.io)/", annotation)


def test_the_docs_name_files_that_are_there() -> None:
    named = set(re.findall(r"`((?:deploy|crds|tests)/[A-Za-z0-9_./-]+)`", DOC))
    assert named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_a_sync_leaves_the_crds() -> None:
    kustomization = yaml.safe_load((ROOT / "crds" / "kustomization.yaml").read_text())
    kept = kustomization["commonAnnotations"]
    assert kept["argocd.argoproj.io/sync-options"] == "Prune=false,Delete=false"
    assert kept["kustomize.toolkit.fluxcd.io/prune"] == "disabled"
    [keep_off] = [each for each in EXAMPLES if set(each) == {"metadata"}]
    assert keep_off["metadata"]["annotations"] == kept, "the same words as in the docs"
