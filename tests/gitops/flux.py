"""Flux's side of CEL: healthCheckExprs as fluxcd/pkg runtime/cel/status_evaluator.go asks them.

status.observedGeneration that is not metadata.generation: InProgress. Then inProgress, failed, current:
the first that is true; none of them: InProgress. Each top-level field of the object is a variable.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import celpy
import yaml

from tests.gitops.kstatus import CURRENT, FAILED, IN_PROGRESS

FILE = Path(__file__).resolve().parents[2] / "deploy/gitops/flux/health-checks/health-checks.yaml"
ORDER = (("inProgress", IN_PROGRESS), ("failed", FAILED), ("current", CURRENT))


@cache
def expressions() -> dict[tuple[str, str], dict[str, str]]:
    """(apiVersion, kind) -> inProgress, failed and current."""
    listed = yaml.safe_load(FILE.read_text())["spec"]["healthCheckExprs"]
    return {(each.pop("apiVersion"), each.pop("kind")): each for each in listed}


@cache
def _program(expression: str) -> celpy.Runner:
    environment = celpy.Environment()
    return environment.program(environment.compile(expression))


def verdict(found: Mapping[str, Any]) -> str:
    """CURRENT, IN_PROGRESS or FAILED; what is being deleted is judged like any other."""
    generation = found["metadata"].get("generation")
    observed = found.get("status", {}).get("observedGeneration")
    if None not in (generation, observed) and generation != observed:
        return IN_PROGRESS
    asked = expressions()[found["apiVersion"], found["kind"]]
    variables = {name: celpy.json_to_cel(part) for name, part in found.items()}
    for field, told in ORDER:
        if bool(_program(asked[field]).evaluate(variables)):
            return told
    return IN_PROGRESS
