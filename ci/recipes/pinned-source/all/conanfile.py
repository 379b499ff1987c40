"""Base classes of the dependencies' recipes: fetch and patch a pinned archive, set build flags.

Knows the kinds of places that archives come from; must not know any particular library.

The conandata.yml of a recipe lists the places of each version, in the order of trying:

    - upstream: https://…            a file at a fixed address
    - apt: h/highway/highway_1.2.0.orig.tar.gz
                                     a path below pool/<component>/ of the archives that apt is
                                     configured with on this machine
    - pypi: OpenEXR==3.5.3           a source distribution from the index that pip is set up with
      folder: external/OpenJPH       (the folder of the archive to use; default: all of it)

Each has the SHA-256 of its file. A file with another checksum is refused, so the places need not be
trusted. A place that can't be reached is skipped within seconds.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from functools import partial

import requests
from conan import ConanFile
from conan.errors import ConanException
from conan.tools.cmake import CMakeToolchain, cmake_layout
from conan.tools.files import (
    apply_conandata_patches,
    copy,
    export_conandata_patches,
    rmdir,
    unzip,
)

CONNECT_SECONDS = 4
STALL_SECONDS = 15
COMMAND_SECONDS = 300


class PlaceError(Exception):
    """A place did not provide the archive; the next one is tried."""


class PinnedSource:
    """Base of every recipe: fetches the pinned source from the first place that has it.

    Applies the `patches` of the recipe's conandata.yml.
    """

    def export_sources(self):
        export_conandata_patches(self)

    def source(self):
        unpack_first_reachable(self, self.conan_data["sources"][self.version])
        apply_conandata_patches(self)

    def copy_licenses(self):
        folder = os.path.join(self.package_folder, "licenses")
        for names in ("LICENSE*", "PATENTS"):
            copy(self, names, self.source_folder, folder)


class PinnedStaticLibrary(PinnedSource):
    """Base of compiled libraries: hardened, position-independent objects with hidden symbols."""

    package_type = "static-library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"fPIC": [True, False]}
    default_options = {"fPIC": True}
    implements = ["auto_shared_fpic"]

    def layout(self):
        cmake_layout(self, src_folder="src")

    def static_toolchain(self, **cache_variables):
        """Return a CMake toolchain whose objects a shared library can link but not export."""
        toolchain = CMakeToolchain(self)
        if str(self.settings.compiler) in ("gcc", "clang", "apple-clang"):
            # Flags, because old projects ignore CMake's visibility properties for static libraries.
            # Sections let the final link drop functions that are never called.
            flags = ["-fvisibility=hidden", "-ffunction-sections", "-fdata-sections"]
            flags += self.hardening()
            toolchain.extra_cflags += flags
            toolchain.extra_cxxflags += [*flags, "-fvisibility-inlines-hidden"]
        toolchain.cache_variables["BUILD_SHARED_LIBS"] = False
        toolchain.cache_variables["BUILD_TESTING"] = False
        toolchain.cache_variables.update(cache_variables)
        return toolchain

    def hardening(self):
        """Return the flags of GCC and Clang that CMakeLists.txt gives libdicube too."""
        flags = ["-fstack-protector-strong", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=3"]
        if self.settings.arch == "x86_64" and self.settings.os == "Linux":
            flags += ["-fcf-protection=full"]
        elif self.settings.arch == "armv8" and self.settings.os == "Linux":
            flags += ["-mbranch-protection=standard"]
        # __FILE__ and debugging information would name folders of the machine that compiles.
        folders = (self.source_folder, self.build_folder)
        return [*flags, *(f"-ffile-prefix-map={folder}={self.name}" for folder in folders)]

    def drop_installed_configs(self):
        """Remove these files; Conan writes its own, for the final place of the package."""
        for folder in ("lib/cmake", "lib/pkgconfig", "share"):
            rmdir(self, os.path.join(self.package_folder, folder))


class PinnedSourceRecipe(ConanFile):
    name = "pinned-source"
    package_type = "python-require"


def unpack_first_reachable(recipe, places):
    failures = []
    download_folder = os.path.join(recipe.source_folder, ".download")
    for place in places:
        for where, fetch in attempts(place):
            os.makedirs(download_folder, exist_ok=True)
            try:
                archive = fetch(download_folder)
                check_sha256(archive, place["sha256"])
                unpack(recipe, archive, place.get("folder"))
                recipe.output.info(f"source: {where}")
                return
            except PlaceError as error:
                failures.append(f"\n  - {where}: {error}")
            finally:
                rmdir(recipe, download_folder)
    raise ConanException(f"no place provided the source of {recipe.ref}; tried:{''.join(failures)}")


def attempts(place):
    """Yield the places of an entry of conandata.yml, each with a function that fetches from it."""
    if "upstream" in place:
        yield place["upstream"], partial(fetch_url, place["upstream"])
    elif "pypi" in place:
        yield f"pip download {place['pypi']}", partial(fetch_sdist, place["pypi"], place["sha256"])
    else:
        for archive in apt_archives():
            for component in ("main", "universe"):
                uri = f"{archive.rstrip('/')}/pool/{component}/{place['apt']}"
                yield f"apt: {uri}", partial(fetch_with_apt, uri)
        if not apt_archives():
            yield "apt", partial(no_apt, place["apt"])


def fetch_url(url, folder):
    archive = os.path.join(folder, url.rpartition("/")[2])
    try:
        with requests.get(url, stream=True, timeout=(CONNECT_SECONDS, STALL_SECONDS)) as response:
            response.raise_for_status()
            with open(archive, "wb") as file:
                for block in response.iter_content(1 << 20):
                    file.write(block)
    except requests.RequestException as error:
        raise PlaceError(str(error)) from error
    return archive


def apt_archives():
    """Return the archives that apt is configured with on this machine."""
    try:
        listed = run("apt-get", "indextargets", "--no-release-info", "--format", "$(REPO_URI)")
    except PlaceError:
        return []
    return list(dict.fromkeys(listed.split()))


def fetch_with_apt(uri, folder):
    # Uses apt's transfer, with its proxies and credentials. It writes only into `folder`, so it
    # needs no root and changes nothing else on the machine.
    archive = os.path.join(folder, os.path.basename(uri))
    run(
        "/usr/lib/apt/apt-helper",
        "-oAcquire::Retries=0",
        f"-oAcquire::http::Timeout={CONNECT_SECONDS}",
        f"-oAcquire::https::Timeout={CONNECT_SECONDS}",
        *("download-file", uri, archive),
    )
    return archive


def no_apt(path, folder):
    raise PlaceError(f"this machine has no apt to fetch {path}")


def fetch_sdist(requirement, sha256, folder):
    # pip runs the build script of a source distribution even to download it. With a hash, it checks
    # the file first.
    requirements = os.path.join(folder, "requirements.txt")
    with open(requirements, "w") as file:
        file.write(f"{requirement} --hash=sha256:{sha256}\n")
    downloads = os.path.join(folder, "sdist")
    name = requirement.partition("==")[0]
    run(
        *pip_command(),
        *("download", "--no-deps", f"--no-binary={name}", "--dest", downloads),
        # Only its C++ sources are used, so the required Python does not matter.
        "--ignore-requires-python",
        *("--retries=1", f"--timeout={STALL_SECONDS}", "--requirement", requirements),
    )
    (archive,) = os.listdir(downloads)
    return os.path.join(downloads, archive)


def pip_command():
    for command in ([sys.executable, "-m", "pip"], ["python3", "-m", "pip"], ["pip3"]):
        try:
            run(*command, "--version")
        except PlaceError:
            continue
        return command
    raise PlaceError("no pip found")


def run(*command):
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PlaceError(str(error)) from error
    if done.returncode:
        lines = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines()]
        errors = [line for line in lines if line.startswith(("E:", "ERROR"))]
        raise PlaceError((errors or lines)[0])
    return done.stdout


def check_sha256(archive, expected):
    digest = hashlib.sha256()
    with open(archive, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != expected:
        raise PlaceError(f"SHA-256 is {digest.hexdigest()}, expected {expected}")


def unpack(recipe, archive, folder):
    if folder is None:
        unzip(recipe, archive, recipe.source_folder, strip_root=True)
        return
    whole = os.path.join(os.path.dirname(archive), "whole")
    unzip(recipe, archive, whole, strip_root=True, pattern=f"*/{folder}/*")
    shutil.copytree(os.path.join(whole, folder), recipe.source_folder, dirs_exist_ok=True)
