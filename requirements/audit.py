"""`make audit`: known vulnerabilities of the locked packages, and of the oldest ones that pyproject.toml allows.

Exit status: 0 when all packages were looked up and none has a known vulnerability, 1 when one has, and 3 when the
vulnerability data cannot be reached or lacks a package, so that nothing can be said.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
IMAGE_EXTRAS = ("kafka", "mqtt", "nats", "oauth2", "otel", "rabbitmq", "redis")


def main(arguments: list[str]) -> int:
    """Audit each file with pip-audit, to which `arguments` are passed."""
    with tempfile.TemporaryDirectory() as folder:
        lowest = Path(folder) / "lowest.txt"
        _resolve_lowest(lowest)
        files = [*sorted((ROOT / "requirements").glob("*.txt")), lowest]
        statuses = [_audit(file, arguments) for file in files]
    return max(statuses, key=(0, 3, 1).index)


def _resolve_lowest(file: Path) -> None:
    extras = [f"--extra={extra}" for extra in IMAGE_EXTRAS]
    command = [str(BIN / "uv"), "pip", "compile", "--quiet", "--universal", "--generate-hashes"]
    command += [
        "--python-version=3.11",
        "--resolution=lowest-direct",
        f"--output-file={file}",
        *extras,
        str(ROOT / "pyproject.toml"),
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _audit(file: Path, arguments: list[str]) -> int:
    command = [str(BIN / "pip-audit"), "--disable-pip", "--require-hashes", "--progress-spinner=off", "--format=json"]
    done = subprocess.run([*command, *arguments, "-r", str(file)], capture_output=True, text=True, check=False)
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = done.stderr.strip().rpartition("\n")[2]
        print(f"{file.name}: NOT AUDITED: pip-audit could not look anything up: {last[:200]}")
        return 3
    vulnerable = [one for one in packages if one.get("vulns")]
    for one in vulnerable:
        for found in one["vulns"]:
            fixes = ", ".join(found["fix_versions"]) or "no version"
            print(f"{file.name}: {one['name']} {one['version']}: {found['id']}; fixed in {fixes}")
    skipped = [one["name"] for one in packages if "skip_reason" in one]
    if skipped or not packages:
        print(
            f"{file.name}: NOT AUDITED: {len(skipped)} of {len(packages)} packages have no vulnerability data here, "
            f"such as {', '.join(skipped[:3])}; is the package index's JSON API reachable?"
        )
    if vulnerable:
        return 1
    if skipped or not packages:
        return 3
    print(f"{file.name}: {len(packages)} packages, no known vulnerability")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
