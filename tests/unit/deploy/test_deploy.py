"""What deploy/ promises: least rights, a hardened Pod, settings that exist, samples without secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from cinderbank.api.crd import render_all
from cinderbank.api.v1alpha1 import RESOURCES
from cinderbank.config import load_settings

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
FILES = sorted([*DEPLOY.rglob("*.yaml"), *(ROOT / "crds").glob("*.yaml")])


def documents(path: Path) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(path.read_text()) if each]


def only(kind: str, path: Path) -> dict[str, Any]:
    [found] = [each for each in documents(path) if each["kind"] == kind]
    return found


OPERATOR_ROLE = only("ClusterRole", DEPLOY / "rbac-cluster/operator.yaml")
DEPLOYMENT = only("Deployment", DEPLOY / "base/deployment.yaml")
POD = DEPLOYMENT["spec"]["template"]["spec"]
[CONTAINER] = POD["containers"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_file_is_in_its_kustomization(path: Path) -> None:
    if path.name == "kustomization.yaml":
        return
    [listing] = documents(path.parent / "kustomization.yaml")
    patches = [patch["path"] for patch in listing.get("patches", ())]
    generated = [
        each.split("=")[-1]
        for made in listing.get("configMapGenerator", ())
        for each in made["files"]
    ]
    assert path.name in listing.get("resources", []) + patches + generated


def test_all_crds_are_applied() -> None:
    [listing] = documents(ROOT / "crds/kustomization.yaml")
    assert set(listing["resources"]) == set(render_all())


def test_both_installations_have_the_same_rules() -> None:
    namespaced = only("Role", DEPLOY / "overlays/namespaced/role.yaml")
    assert namespaced["rules"] == OPERATOR_ROLE["rules"]


def test_secrets_are_only_read_by_name() -> None:
    verbs = {v for r in OPERATOR_ROLE["rules"] if "secrets" in r["resources"] for v in r["verbs"]}
    assert verbs == {"get"}


RBAC = ("rbac-cluster/operator.yaml", "rbac-cluster/users.yaml", "persistent-volumes/operator.yaml")


def test_no_rule_is_wild() -> None:
    for path in (DEPLOY / name for name in RBAC):
        for role in documents(path):
            for rule in role.get("rules", ()):
                assert not any("*" in word for words in rule.values() for word in words)


def test_persistent_volumes_are_only_had_by_name() -> None:
    role = only("ClusterRole", DEPLOY / "persistent-volumes/operator.yaml")
    verbs = {r["resources"][0]: set(r["verbs"]) for r in role["rules"]}
    assert verbs == {"persistentvolumes": {"get", "create", "delete"}, "nodes": {"list"}}
    binding = only("ClusterRoleBinding", DEPLOY / "persistent-volumes/operator.yaml")
    [operator] = only("ClusterRoleBinding", DEPLOY / "rbac-cluster/operator.yaml")["subjects"]
    assert binding["subjects"] == [operator]


def test_rules_name_our_kinds() -> None:
    """What is watched and worked on has the same rights everywhere; what is mirrored has its own."""
    worked_on = {resource.plural for resource in RESOURCES if resource.watched}
    mirrored = {resource.plural for resource in RESOURCES if not resource.watched}
    named = [
        {name.split("/")[0] for name in rule["resources"]}
        for rule in OPERATOR_ROLE["rules"]
        if rule["apiGroups"] == ["cinderbank.io"]
    ]
    made_by_policies = {"volumebackups", "volumerestores", "bankchecks"}
    assert named == [worked_on, made_by_policies, worked_on, mirrored, mirrored]


def test_nobody_but_the_operator_writes_a_mirror() -> None:
    verbs = {
        verb
        for role in documents(DEPLOY / "rbac-cluster/users.yaml")
        for rule in role["rules"]
        if "recoverypoints" in rule["resources"]
        for verb in rule["verbs"]
    }
    assert verbs == {"get", "list", "watch", "delete", "deletecollection"}


def test_users_do_not_write_status() -> None:
    for role in documents(DEPLOY / "rbac-cluster/users.yaml"):
        for rule in role["rules"]:
            assert not any("/" in resource for resource in rule["resources"])


def test_the_pod_is_restricted() -> None:
    """Pod Security `restricted`, and a root file system that nobody writes to."""
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not POD.keys() & {"hostNetwork", "hostPID", "hostIPC"}
    assert all(volume.keys() <= {"name", "emptyDir"} for volume in POD["volumes"])
    namespace = only("Namespace", DEPLOY / "base/namespace.yaml")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_never_two_operators_side_by_side() -> None:
    assert DEPLOYMENT["spec"]["replicas"] == 1
    assert DEPLOYMENT["spec"]["strategy"] == {"type": "Recreate"}


def test_the_pod_outlives_the_operator_s_grace() -> None:
    settings = load_settings({})
    assert POD["terminationGracePeriodSeconds"] > settings.shutdown_grace_seconds
    assert CONTAINER["ports"] == [{"name": "http", "containerPort": settings.listen_port}]


def test_the_overlay_s_settings_exist() -> None:
    patch = only("Deployment", DEPLOY / "overlays/namespaced/operator.yaml")
    [container] = patch["spec"]["template"]["spec"]["containers"]
    settings = load_settings({each["name"]: each["value"] for each in container["env"]})
    assert settings.namespaces == ("cinderbank-system",)


def test_samples_are_valid_and_hold_no_secret() -> None:
    kinds = {resource.kind: resource for resource in RESOURCES}
    seen = set()
    for path in sorted((DEPLOY / "samples").glob("*.yaml")):
        for document in documents(path):
            seen.add(document["kind"])
            if document["kind"] in kinds:
                kinds[document["kind"]].spec.read(document["spec"], "spec")
            if document["kind"] == "Secret":
                assert "FILL-IN" in str(document["stringData"])
    assert seen >= {*(each.kind for each in RESOURCES if each.watched), "Secret"}


def test_the_image_is_built_from_the_lock_and_runs_as_nobody() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert text.count("--locked") == text.count("uv sync") == 2
    assert "USER 65532:65532" in text
    assert POD["securityContext"]["runAsUser"] == 65532
    final = text.rsplit("FROM ", 1)[1]
    assert "apt" not in final and "pip" not in final
