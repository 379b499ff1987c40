"""Scripts in ci/: skips are listed, pins are exact, and a release is complete and accounted for."""

from __future__ import annotations

import hashlib
import json
import re
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest
from programs.running import ROOT, run_python

import dicube

PYTEST = '<testcase name="t"><skipped type="pytest.skip" message="{}">a.py:1</skipped></testcase>'
CTEST = '<testcase name="t"><skipped message="REGULAR"/><system-out>{}\n</system-out></testcase>'
XFAIL = '<testcase name="t"><skipped type="pytest.xfail" message="{}"/></testcase>'


@pytest.mark.parametrize(
    ("case", "reason", "status"),
    [
        (PYTEST, "needs dcmdump", 1),
        (PYTEST, "needs djxl", 0),
        (PYTEST, "needs djxl-of-another-kind", 1),
        (PYTEST, "could not import 'nibabel': No module named 'nibabel'", 1),
        (PYTEST, "not root", 0),
        (CTEST, "needs abidiff (on Debian: abigail-tools)", 1),
        (CTEST, "needs djxl", 0),
    ],
)
def test_a_skip_for_want_of_what_is_here_fails(
    tmp_path: Path, case: str, reason: str, status: int
) -> None:
    results = tmp_path / "results.xml"
    results.write_text(f"<testsuites><testsuite>{case.format(reason)}</testsuite></testsuites>")
    found = run_python(ROOT / "ci" / "skips", results, "--missing", "libjxl-tools", "djxl")
    assert f"skipped   1 x {reason} (t)" in found.stdout
    assert found.returncode == status, found.stderr


def test_tests_that_passed_or_are_expected_to_fail_are_not_listed(tmp_path: Path) -> None:
    results = tmp_path / "results.xml"
    passed = '<testcase name="t"><system-out>needs dcmdump</system-out></testcase>'
    results.write_text(f"<testsuite>{passed}{XFAIL.format('needs dcmdump')}</testsuite>")
    found = run_python(ROOT / "ci" / "skips", results)
    assert (found.stdout, found.returncode) == ("", 0), found.stderr


# ----------------------------------------------------------------------------------------- pins


def test_actions_are_pinned_by_commit_and_may_only_read() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    used = re.findall(r"uses: *(.*)", workflow)
    assert used
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
    assert re.search(r"^permissions:\n  contents: read\n", workflow, re.MULTILINE)
    assert "-latest" not in workflow


def test_build_requirements_are_pinned_by_version_and_hash() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    (listed,) = re.findall(r"^requires = \[\n(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    wanted = [line.split('"')[1] for line in listed.splitlines()]
    locked = (ROOT / "ci" / "build-requirements.txt").read_text()
    pins = re.split(r"^(?=\w)", locked, flags=re.MULTILINE)[1:]
    for pin in pins:
        assert re.match(r"[\w.-]+==\S+.* \\\n(    --hash=sha256:[0-9a-f]{64}( \\)?\n)+$", pin), pin
    versions = [pin.split()[0] for pin in pins]
    assert wanted
    for requirement in wanted:
        assert requirement in versions


# -------------------------------------------------------------------------------------- release


def script(name: str) -> ModuleType:
    loader = SourceFileLoader(f"ci_{name}", str(ROOT / "ci" / name))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def sbom() -> ModuleType:
    return script("sbom")


@pytest.fixture(scope="module")
def release() -> ModuleType:
    return script("release")


REQUIREMENTS = [
    "numpy>=1.24",
    'torchio<2,>=1.0; extra == "torchio"',
    'Pillow>=10.1; extra == "web"',
    'pillow>=10.1; extra == "notebook"',
    'uvloop>=0.19; sys_platform != "win32" and extra == "web"',
    'dicube[archive]; extra == "web"',
    'zarr>=3.1; python_version >= "3.11" and extra == "zarr"',
    'pytest>=9.0; extra == "test"',
]


def test_the_bill_lists_each_linked_library_with_its_source(sbom: ModuleType) -> None:
    components, edges = sbom.linked_libraries()
    recipes = {path.name for path in (ROOT / "ci" / "recipes").iterdir()} - {"pinned-source"}
    assert {component["name"] for component in components} == recipes
    for component in components:
        data = (ROOT / "ci/recipes" / component["name"] / "all/conandata.yml").read_text()
        source = component["externalReferences"][1]
        upstream = f"upstream: {source['url']}\n      sha256: {source['hashes'][0]['content']}\n"
        assert f'"{component["version"]}":' in data
        assert upstream in data
        patches = [one["diff"]["url"] for one in component.get("pedigree", {}).get("patches", [])]
        folder = ROOT / "ci/recipes" / component["name"] / "all/patches"
        assert sorted(ROOT / patch for patch in patches) == sorted(folder.glob("*"))
    references = {component["name"]: component["bom-ref"] for component in components}
    libjxl = {references[name] for name in ("highway", "brotli", "lcms")}
    assert set(edges[references["libjxl"]]) == libjxl
    assert set(edges["conanfile.py"]) == set(references.values()) - libjxl


def test_the_bill_has_the_versions_that_are_linked(sbom: ModuleType) -> None:
    listed = {one["name"].lower(): one["version"] for one in sbom.linked_libraries()[0]}
    linked = dict(re.findall(r"^(\w+) ([\d.]+)", dicube.build_info(), re.MULTILINE))
    found = {name.lower(): version for name, version in linked.items() if name.lower() in listed}
    assert len(found) == 7
    assert found.items() <= listed.items()


def test_the_bill_lists_required_packages_by_extra(sbom: ModuleType) -> None:
    packages = {package["name"]: package for package in sbom.python_packages(REQUIREMENTS)}
    assert packages.keys() == {"numpy", "pillow", "torchio", "uvloop", "zarr"}
    assert packages["numpy"]["scope"] == "required"
    assert packages["torchio"]["versionRange"] == "vers:pypi/>=1.0|<2"
    assert packages["torchio"]["scope"] == "optional"
    extras = {"name": "dicube:extra"}
    assert packages["pillow"]["properties"] == [
        {**extras, "value": "notebook"},
        {**extras, "value": "web"},
    ]


def test_the_bill_lists_bundled_packages_with_the_checksums_of_the_lock_file(
    sbom: ModuleType,
) -> None:
    locked = json.loads((ROOT / "js/package-lock.json").read_text())["packages"]
    name = "@cornerstonejs/codec-openjph"
    version = locked[f"node_modules/{name}"]["version"]
    text = f"{name} {version} (MIT)\n\nPermission ...\n\n----\n\nopenjph, in {name}\n\nBSD"
    (package,) = sbom.npm_packages([text, text])
    assert package["purl"] == f"pkg:npm/%40cornerstonejs/codec-openjph@{version}"
    assert package["licenses"] == [{"expression": "MIT"}]
    (found,) = package["hashes"]
    integrity = locked[f"node_modules/{name}"]["integrity"]
    assert found["alg"] == "SHA-512"
    assert sbom.base64.b64encode(bytes.fromhex(found["content"])).decode() == integrity[7:]


def test_the_bill_is_valid(sbom: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("cyclonedx")
    (tmp_path / "dicube-1.tar.gz").write_bytes(b"abc")
    found = sbom.document("1", REQUIREMENTS, ["hash-wasm 4.0.0 (MIT)"], tmp_path.iterdir())
    assert sbom.invalid(json.dumps(found)) is None
    (file,) = found["metadata"]["component"]["externalReferences"]
    assert file["hashes"][0]["content"] == hashlib.sha256(b"abc").hexdigest()
    listed = {component["bom-ref"] for component in found["components"]}
    (top,) = (one for one in found["dependencies"] if one["ref"].startswith("pkg:pypi/dicube@"))
    below = {one["ref"] for one in found["dependencies"]} - {top["ref"]}
    assert below < listed
    assert {ref for one in found["dependencies"] for ref in one["dependsOn"]} == listed
    del found["components"][0]["name"]
    assert "'name' is a required property" in sbom.invalid(json.dumps(found))


def test_a_wheel_without_the_licence_of_a_linked_library_is_found(sbom: ModuleType) -> None:
    names = [
        f"dicube-1.dist-info/licenses/{library['name']}/LICENSE"
        for library in sbom.linked_libraries()[0]
    ]
    assert sbom.without_license([*names, "dicube-1.dist-info/licenses/LICENSE"]) == []
    names.remove("dicube-1.dist-info/licenses/lcms/LICENSE")
    assert sbom.without_license(names) == ["lcms"]


def test_checksums_are_those_of_all_files(release: ModuleType, tmp_path: Path) -> None:
    for name in ("b.whl", "c.tgz", "a.tar.gz"):
        (tmp_path / name).write_text(name)
    release.write_checksums(tmp_path)
    lines = (tmp_path / "SHA256SUMS").read_text().splitlines()
    assert lines == [
        f"{hashlib.sha256(name.encode()).hexdigest()}  {name}"
        for name in ("a.tar.gz", "b.whl", "c.tgz")
    ]


def test_only_a_snapshot_goes_on_without_a_program(
    release: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert release.can("this", "python3" if release.os.name != "nt" else "python", snapshot=False)
    assert not release.can("the cake", "no-such-oven", snapshot=True)
    assert "the cake needs no-such-oven: left out" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="the cake needs no-such-oven"):
        release.can("the cake", "no-such-oven", snapshot=False)


def test_every_extra_of_users_is_tried(release: ModuleType, sbom: ModuleType) -> None:
    project = (ROOT / "pyproject.toml").read_text()
    (listed,) = re.findall(r"^\[project.optional-dependencies\]\n(.*?)^\[", project, re.M | re.S)
    extras = set(re.findall(r"^([\w-]+) = ", listed, re.MULTILINE)) - sbom.FOR_DEVELOPMENT
    integrations = {"monai", "napari", "nnunet", "torch", "torchio", "virtualizarr", "zarr"}
    assert extras == {*release.EXTRAS, *integrations}
    program = (ROOT / "tests/python/programs/extras.py").read_text()
    features = set(re.findall(r'^    "([\w-]+)": \w+,$', program, re.MULTILINE))
    assert features == {*release.EXTRAS} - {"all"}
