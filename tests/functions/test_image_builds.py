"""`make images`: what it tells the builder, and what it writes, with a builder that only notes what it was told."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DIGEST = "sha256:" + "0a" * 32
BUILDER = f"""#!/usr/bin/env bash
echo "$@" >>"$NOTES"
while [ $# -gt 0 ]; do
	case $1 in
	--digestfile) echo {DIGEST} >"$2" ;;
	--metadata-file) echo '{{"containerimage.digest": "{DIGEST}"}}' >"$2" ;;
	inspect) echo registry.example/ics@{DIGEST} ;;
	create) echo container ;;
	cp) echo '{{}}' >"$3" ;;
	esac
	shift
done
"""


class Built:
    """A checkout with what images.sh reads, and what its builder was told."""

    def __init__(self, folder: Path, builder: str) -> None:
        self.folder = folder
        for each in ("functions/images.sh", "functions/ics/main.py", "functions/report/main.py", "pyproject.toml"):
            (folder / each).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / each, folder / each)
        (folder / "knative/overlays/production/images").mkdir(parents=True)
        self.builder = folder / builder
        self.builder.write_text(BUILDER)
        self.builder.chmod(0o755)

    def run(self, *functions: str, **settings: str) -> list[str]:
        notes = self.folder / "notes"
        environment = {**os.environ, "BUILDER": str(self.builder), "NOTES": str(notes), **settings}
        subprocess.run([self.folder / "functions/images.sh", *functions], env=environment, check=True)
        return notes.read_text().splitlines()

    @property
    def digests(self) -> dict[str, str]:
        file = self.folder / "knative/overlays/production/images/kustomization.yaml"
        return {each["name"]: each["digest"] for each in yaml.safe_load(file.read_text())["images"]}


@pytest.fixture(params=["docker", "podman"])
def built(request: pytest.FixtureRequest, tmp_path: Path) -> Built:
    return Built(tmp_path, request.param)


def test_each_image_is_built_and_its_bill_of_materials_brought_out(built: Built) -> None:
    told = built.run("ics", REGISTRY="registry.example")

    assert told[0].startswith("build --tag registry.example/ics:0.1.0 --build-arg FUNCTION=ics")
    assert "cp container:/app/sbom.cdx.json build/sbom/ics.cdx.json" in told
    assert (built.folder / "build/sbom/ics.cdx.json").is_file()


def test_pushed_the_overlay_has_the_digest_of_every_function(built: Built) -> None:
    built.run(PUSH="1", REGISTRY="registry.example")

    assert built.digests == {"errands/ics": DIGEST, "errands/report": DIGEST}


def test_for_several_platforms_an_index_is_built_and_pushed(built: Built) -> None:
    told = built.run(PUSH="1", REGISTRY="registry.example", PLATFORMS="linux/amd64,linux/arm64")

    builds = [each for each in told if "--platform linux/amd64,linux/arm64" in each]
    assert len(builds) == 2
    assert built.digests == {"errands/ics": DIGEST, "errands/report": DIGEST}
    if built.builder.name == "docker":
        assert all(each.startswith("buildx build") and each.count("--push") for each in builds)
    else:
        assert len([each for each in told if each.startswith("manifest push --all")]) == 2
