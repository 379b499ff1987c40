"""What the dependencies' recipes share: fetching a pinned archive and patching it, build flags.

Knows the kinds of places an archive can come from; must not know any particular library.

A recipe's conandata.yml lists, for each version, the places in the order they are asked:

    - upstream: https://…            a file at a fixed address
    - apt: h/highway/highway_1.2.0.orig.tar.gz
                                     a path below pool/<component>/ of whatever archives this
                                     machine's apt is set up with
    - pypi: OpenEXR==3.5.3           a source distribution, from whatever index pip is set up with
      folder: external/OpenJPH       (the part of the archive that is wanted; default: all of it)

each with the SHA-256 of the file that place serves. The checksum alone decides what is accepted,
so no place needs to be trusted. A place that can't be reached is given up within seconds.
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
    """One place did not yield the archive; the next one is asked."""


class PinnedSource:
    """Base of every recipe: the source of the pinned version, from whichever place has it.

    What a recipe's conandata.yml lists under `patches` is applied to it.
    """

    def export_sources(self):
        export_conandata_patches(self)

    def source(self):
        unpack_first_reachable(self, self.conan_data["sources"][self.version])
        apply_conandata_patches(self)

    def copy_license(self):
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))


class PinnedStaticLibrary(PinnedSource):
    """Base of the compiled ones: position-independent, hidden, nothing built that no one links."""

    package_type = "static-library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"fPIC": [True, False]}
    default_options = {"fPIC": True}
    implements = ["auto_shared_fpic"]

    def layout(self):
        cmake_layout(self, src_folder="src")

    def static_toolchain(self, **cache_variables):
        """A CMake toolchain whose objects can go into a shared library without being seen there."""
        toolchain = CMakeToolchain(self)
        if str(self.settings.compiler) in ("gcc", "clang", "apple-clang"):
            # As flags, because old projects ignore CMake's visibility properties for static
            # libraries; in sections, so that the final link drops what is never called.
            flags = ["-fvisibility=hidden", "-ffunction-sections", "-fdata-sections"]
            toolchain.extra_cflags += flags
            toolchain.extra_cxxflags += [*flags, "-fvisibility-inlines-hidden"]
        toolchain.cache_variables["BUILD_SHARED_LIBS"] = False
        toolchain.cache_variables["BUILD_TESTING"] = False
        toolchain.cache_variables.update(cache_variables)
        return toolchain

    def drop_installed_configs(self):
        """Conan writes these files itself, for the place where the package ends up."""
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
    raise ConanException(f"no place had the source of {recipe.ref}; tried:{''.join(failures)}")


def attempts(place):
    """The concrete places that an entry of conandata.yml stands for, each with how to fetch."""
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
    """The archives this machine's apt is set up with, as apt tells them."""
    try:
        told = run("apt-get", "indextargets", "--no-release-info", "--format", "$(REPO_URI)")
    except PlaceError:
        return []
    return list(dict.fromkeys(told.split()))


def fetch_with_apt(uri, folder):
    # apt's own transfer, with its proxies and credentials. It writes nowhere but into `folder`, so
    # it needs no root and changes nothing on the machine.
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
    raise PlaceError(f"no apt on this machine that could be asked for {path}")


def fetch_sdist(requirement, sha256, folder):
    # pip runs a source distribution's build script even to download it. The hash makes it check
    # the file before that.
    requirements = os.path.join(folder, "requirements.txt")
    with open(requirements, "w") as file:
        file.write(f"{requirement} --hash=sha256:{sha256}\n")
    downloads = os.path.join(folder, "sdist")
    name = requirement.partition("==")[0]
    run(
        *pip_command(),
        *("download", "--no-deps", f"--no-binary={name}", "--dest", downloads),
        # Only C++ sources are taken from it, so the Python that it wants does not matter.
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
