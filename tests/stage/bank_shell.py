"""`cinderbank bank` in a shell of its own, beside all operators."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.rig.sigv4 import Keys
from tests.stage.operator_process import ROOT

OVERTAKEN = 75
LIMIT_SECONDS = 600.0
"""Only what never comes is given up."""


class BankShell:
    """With a bank file in `folder`, for the bank below `prefix` of the rig's bucket."""

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        prefix: str,
        site: str,
        *,
        endpoint: str | None = None,
        keys: Keys | None = None,
    ) -> None:
        keys = keys or Keys(environment["S3_ACCESS_KEY"], environment["S3_SECRET_KEY"])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "id").write_text(keys.access_key)
        (folder / "secret").write_text(keys.secret_key)
        self._file = folder / "bank.yaml"
        rows = {
            "endpoint": endpoint or environment["S3_ENDPOINT"],
            "bucket": environment["S3_BUCKET"],
            "prefix": prefix,
            "site": site,
            "accessKeyIDFile": "id",
            "secretAccessKeyFile": "secret",
        }
        self._file.write_text(json.dumps(rows))  # JSON is YAML

    def collect(self) -> dict[str, Any]:
        """`gc --run`, whatever the share; its report. One that was overtaken says so in `refusal`."""
        words = ["gc", "--run", "--force", "-o", "json"]
        done = subprocess.run(
            [sys.executable, "-m", "cinderbank", "bank", *words, "--bank", str(self._file)],
            env={**os.environ, "PYTHONPATH": str(ROOT / "operator")},
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
        )
        assert done.returncode in (0, OVERTAKEN), done.stderr
        return dict(json.loads(done.stdout))
