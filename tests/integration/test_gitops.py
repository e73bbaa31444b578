"""What Argo CD and Flux do with our objects, done with kubectl on a real API server."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.gitops import argocd, flux
from tests.gitops.every_kind import RECORDERS, recorded
from tests.stage.namespace import Namespace, Object, Refused, condition
from tests.stage.operator_process import OperatorProcess
from tests.stage.site import GROUP, Site, Stage, backup

pytestmark = pytest.mark.timeout(1200)

ROOT = Path(__file__).resolve().parents[2]
GITOPS = ROOT / "deploy" / "gitops"
LIMIT_SECONDS = 240.0
VOLUME = "0f6c2d7e-6d3e-4a52-9d6c-0a4e5b1f7c11"
FINALIZER = "cinderbank.io/protect"
FLUX, ARGO_CD = "kustomize-controller", "argocd-controller"


def manifests() -> list[Object]:
    """One of each kind, as a user has it in Git. Without the Secrets: then nothing goes far."""
    files = sorted((ROOT / "deploy" / "samples").glob("*.yaml"))
    found = [each for file in files for each in yaml.safe_load_all(file.read_text()) if each]
    return [each for each in found if each["apiVersion"] == GROUP]


def ended(phase: str) -> list[tuple[Object, Object]]:
    """Of each kind that has that phase: its manifest, and a status that our own code has ended with."""
    by_kind = {each["kind"]: each for each in manifests()}
    found = []
    for kind in RECORDERS:
        statuses = [each.found["status"] for each in recorded(kind)]
        last = [s for s in statuses if (s.get("phase"), s.get("observedGeneration")) == (phase, 1)]
        if last:
            found.append((by_kind[kind], last[-1]))
    return found


@pytest.fixture
def home(site: Site) -> Iterator[Namespace]:
    found = site.namespace(f"gitops-{os.urandom(3).hex()}")
    found.create()
    yield found
    found.delete("namespace", found.name)


def operator_of(site: Site, namespace: Namespace) -> OperatorProcess:
    settings = {"CINDERBANK_NAMESPACES": namespace.name, "CINDERBANK_BLOCKED_RETRY_SECONDS": "2"}
    running = site.operator(settings)
    running.log = site.stage.rig.log(f"operator-{namespace.name}")
    return running


def listed(objects: Sequence[Object]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


def flux_applies(namespace: Namespace, objects: Sequence[Object], *more: str) -> str:
    words = ("apply", "--server-side", f"--field-manager={FLUX}", *more, "-f", "-")
    return namespace.run(*words, stdin=listed(objects))


def argo_cd_applies(namespace: Namespace, objects: Sequence[Object]) -> str:
    """Its default is not server-side."""
    words = ("apply", f"--field-manager={ARGO_CD}", "-f", "-")
    return namespace.run(*words, stdin=listed(objects))


def read(namespace: Namespace, wanted: Object) -> Object:
    found = namespace.get(wanted["kind"], wanted["metadata"]["name"])
    assert found is not None
    return found


def write_status(site: Site, namespace: Namespace, wanted: Object, status: Object) -> None:
    """As the operator would have; none serves the namespace yet."""
    plural = f"{wanted['kind'].lower()}s"
    path = f"/apis/{GROUP}/namespaces/{namespace.name}/{plural}/{wanted['metadata']['name']}/status"
    site.cluster.request("PATCH", path, {"status": status})


def after_one_more(namespace: Namespace, name: str) -> None:
    """Back when the operator has had its turn with all that it heard of before."""
    namespace.apply(backup(name, source={"volumeID": VOLUME}))
    namespace.wait("vbk", name, lambda o: "SecretNotFound" in str(o["status"]), seconds=240)


def git_s_part(found: Object) -> Object:
    """What a GitOps tool compares: all but status and what the API server keeps for itself."""
    metadata = found["metadata"]
    names = ("name", "labels", "annotations", "finalizers", "ownerReferences", "generation")
    return {"spec": found["spec"], **{name: metadata.get(name) for name in names}}


def managers(namespace: Namespace, wanted: Object) -> dict[str, set[str]]:
    """Who wrote what of it: manager -> top-level fields."""
    words = (
        "get",
        wanted["kind"],
        wanted["metadata"]["name"],
        "-o",
        "json",
        "--show-managed-fields",
    )
    found: dict[str, set[str]] = {}
    for each in json.loads(namespace.run(*words))["metadata"]["managedFields"]:
        found.setdefault(each["manager"], set()).update(each["fieldsV1"])
    return found


def test_nothing_differs_from_git_once_it_was_applied(site: Site, home: Namespace) -> None:
    """Defaults, statuses and finalizers are no drift: neither for a dry run of Flux nor for Argo CD."""
    other = site.namespace(f"{home.name}-argo")
    other.create()
    running = site.operator({"CINDERBANK_NAMESPACES": f"{home.name},{other.name}"})
    running.log = site.stage.rig.log(f"operator-{home.name}")
    wanted = manifests()
    try:
        flux_applies(home, wanted)
        argo_cd_applies(other, wanted)
        running.start()
        for namespace in (home, other):
            for each in wanted:
                name = each["metadata"]["name"]
                namespace.wait(
                    each["kind"],
                    name,
                    lambda o: o["status"].get("observedGeneration") == 1,
                    seconds=LIMIT_SECONDS,
                )
    finally:
        assert running.stop() == 0
    said = json.loads(flux_applies(home, wanted, "--dry-run=server", "-o", "json"))
    for each, dry in zip(wanted, said["items"], strict=True):
        found = read(home, each)
        assert git_s_part(dry) == git_s_part(found)
        wrote = managers(home, each)
        assert set(wrote) == {FLUX, "cinderbank"}, "nobody else has written"
        assert wrote["cinderbank"] == {"f:status"}
    other.run("diff", f"--field-manager={ARGO_CD}", "-f", "-", stdin=listed(wanted))
    other.delete("namespace", other.name)


def test_what_has_ended_is_not_begun_again_by_another_apply(site: Site, home: Namespace) -> None:
    finished = ended("Completed")
    assert {wanted["kind"] for wanted, _ in finished} >= {"VolumeBackup", "VolumeRestore"}
    wanted = [each for each, _ in finished]
    flux_applies(home, wanted)
    for each, status in finished:
        write_status(site, home, each, status)
        words = ("wait", "--for=condition=Ready", "--timeout=60s")
        home.run(*words, each["kind"], each["metadata"]["name"])
    running = operator_of(site, home)
    running.start()
    try:
        after_one_more(home, "first")
        before = [read(home, each) for each in wanted]
        flux_applies(home, wanted)
        flux_applies(home, wanted, "--force-conflicts")
        after_one_more(home, "second")
        assert [read(home, each) for each in wanted] == before, "nobody has written anything"
        argo_cd_applies(home, wanted)
        home.run("replace", "-f", "-", stdin=listed(wanted))
        after_one_more(home, "third")
        for each, old in zip(wanted, before, strict=True):
            found = read(home, each)
            assert found["metadata"]["generation"] == 1
            assert found["metadata"]["uid"] == old["metadata"]["uid"]
            assert found["status"] == old["status"]
    finally:
        assert running.stop() == 0


def test_what_has_failed_can_be_waited_for(site: Site, home: Namespace) -> None:
    for wanted, status in ended("Failed"):
        flux_applies(home, [wanted])
        write_status(site, home, wanted, status)
        name = wanted["metadata"]["name"]
        home.run("wait", "--for=condition=Stalled", "--timeout=60s", wanted["kind"], name)
        with pytest.raises(Refused, match="not met"):
            home.run("wait", "--for=condition=Ready", "--timeout=0s", wanted["kind"], name)


def finished_backup(site: Site, namespace: Namespace, policy: str) -> Object:
    """A Completed VolumeBackup of that deletionPolicy, as an operator has left it."""
    [(manifest, status)] = [
        each for each in ended("Completed") if each[0]["kind"] == "VolumeBackup"
    ]
    name = policy.lower()
    finalizers = [FINALIZER] if policy == "Delete" else []
    wanted: Object = {**manifest, "metadata": {"name": name, "finalizers": finalizers}}
    wanted["spec"] = {**manifest["spec"], "deletionPolicy": policy}
    flux_applies(namespace, [wanted])
    write_status(site, namespace, wanted, status)
    return wanted


def test_a_namespace_that_goes_takes_no_data_along(site: Site, home: Namespace) -> None:
    """Secrets and bank are gone, so that nothing can be deleted in the bank: who deletes the object has
    to wait, who deletes the namespace has not, because then the data stays. With a bank: e2e."""
    for policy in ("Retain", "Delete"):
        finished_backup(site, home, policy)
    running = operator_of(site, home)
    running.start()
    try:
        home.delete("vbk", "delete")
        waits = home.wait(
            "vbk", "delete", lambda o: condition(o, "Stalled").get("status") == "True", seconds=240
        )
        assert condition(waits, "Stalled")["reason"] == "SecretNotFound"
        assert FINALIZER in waits["metadata"]["finalizers"]
        home.delete("namespace", home.name)
        home.wait_gone("namespace", home.name, seconds=LIMIT_SECONDS)
    finally:
        assert running.stop() == 0


NAMESPACED = "cinderbank-namespaced"


def release(namespace: Namespace, crd: str) -> None:
    """Let the object go if the operator did not: the other tests need the CRD back."""
    found = namespace.get("crd", crd)
    if found is not None and "deletionTimestamp" in found["metadata"]:
        no_finalizers = '{"metadata":{"finalizers":null}}'
        namespace.run("patch", "vbk", "delete", "--type=merge", "-p", no_finalizers)
        namespace.wait_gone("crd", crd, seconds=LIMIT_SECONDS)


def test_a_crd_that_goes_takes_no_data_along(stage: Stage) -> None:
    """At site b, as it takes all objects of the kind along; with the rights of overlays/namespaced, which
    can not read CRDs."""
    site = stage.site("b")
    site.install()
    home = site.namespace(f"gitops-{os.urandom(3).hex()}")
    home.create()
    account: Object = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": NAMESPACED},
    }
    role, binding = yaml.safe_load_all((ROOT / "deploy/overlays/namespaced/role.yaml").read_text())
    binding["subjects"] = [
        {"kind": "ServiceAccount", "name": NAMESPACED, "namespace": home.name},
    ]
    home.apply(account, role, binding)
    finished_backup(site, home, "Delete")
    kubeconfig = site.cluster.kubeconfig_for_service_account(home.name, NAMESPACED)
    log = stage.rig.log(f"operator-{home.name}")
    running = OperatorProcess(kubeconfig, log, {"CINDERBANK_NAMESPACES": home.name})
    crd = "volumebackups.cinderbank.io"
    try:
        running.start()
        who = f"--as=system:serviceaccount:{home.name}:{NAMESPACED}"
        with pytest.raises(Refused, match="forbidden"):
            home.run("get", "crd", crd, who)
        home.delete("crd", crd)
        home.wait_gone("crd", crd, seconds=LIMIT_SECONDS)
    finally:
        running.kill()
        release(home, crd)
        site.install()
        home.delete("namespace", home.name)


def test_argo_cd_s_entries_join_those_that_are_there(site: Site) -> None:
    """`kubectl apply --server-side -k deploy/gitops/argocd`, as its first lines say."""
    theirs = site.namespace("argocd")
    theirs.create()
    body: Object = {"apiVersion": "v1", "kind": "ConfigMap"}
    body |= {"metadata": {"name": "argocd-cm"}, "data": {"url": "https://argocd.example.org"}}
    theirs.apply(body)
    words = ("apply", "--server-side", "--field-manager=cinderbank-gitops", "-k")
    for _ in range(2):
        theirs.run(*words, str(GITOPS / "argocd"))
    found = theirs.get("configmap", "argocd-cm")
    assert found is not None
    assert found["data"] == {"url": "https://argocd.example.org", **argocd.config_map()}
    assert found["metadata"]["labels"]["app.kubernetes.io/part-of"] == "argocd"
    theirs.delete("namespace", "argocd")


def test_the_flux_example_holds_the_expressions(site: Site) -> None:
    """`kubectl kustomize deploy/gitops/flux`: aliases are written out, names are not touched."""
    said = site.namespace("default").run("kustomize", str(GITOPS / "flux"))
    found = {
        each["metadata"]["name"]: each
        for each in yaml.safe_load_all(said)
        if each["kind"] == "Kustomization"
    }
    assert set(found) == {"cinderbank", "shop-backups"}
    assert "healthCheckExprs" not in found["cinderbank"]["spec"]
    listed_there: list[dict[str, Any]] = found["shop-backups"]["spec"]["healthCheckExprs"]
    told = {(each.pop("apiVersion"), each.pop("kind")): each for each in listed_there}
    assert told == flux.expressions()
