"""libdicube as a Conan package. The versions of its dependencies are defined here only.

The wheel and a plain CMake build install the same requirements (ci/dependencies). Must not know
where the sources come from; that is in ci/recipes.
"""

import os
import re

from conan import ConanFile
from conan.tools.cmake import CMake, CMakeDeps, CMakeToolchain, cmake_layout
from conan.tools.files import copy, load


class DicubeRecipe(ConanFile):
    name = "dicube"
    description = "Lossless cubes of medical image frames: container, codecs, C interface"
    license = "MIT"
    package_type = "shared-library"
    settings = "os", "arch", "compiler", "build_type"
    test_package_folder = "tests/consumers/conan"
    exports_sources = "CMakeLists.txt", "LICENSE", "cmake/*", "cpp/*"

    def set_version(self):
        header = load(self, os.path.join(self.recipe_folder, "cpp/include/dicube/dicube.h"))
        self.version = ".".join(
            re.search(rf"#define DICUBE_VERSION_{part}\s+(\d+)", header).group(1)
            for part in ("MAJOR", "MINOR", "PATCH")
        )

    def export(self):
        copy(self, "cpp/include/dicube/dicube.h", self.recipe_folder, self.export_folder)

    def requirements(self):
        self.requires("libjxl/0.11.2", visible=False)
        self.requires("openjph/0.32.0", visible=False)
        self.requires("charls/2.4.2", visible=False)
        self.requires("xxhash/0.8.3", visible=False)

    def package_id(self):
        # The interface is C, and CMakeLists.txt sets the C++ version used inside.
        self.info.settings.rm_safe("compiler.cppstd")

    def layout(self):
        cmake_layout(self)

    def generate(self):
        toolchain = CMakeToolchain(self)
        toolchain.user_presets_path = False
        toolchain.generate()
        deps = CMakeDeps(self)
        # The dependencies are always release builds: a debug or sanitizer build of libdicube links
        # the same archives.
        for deps.configuration in ("Debug", "RelWithDebInfo", "MinSizeRel", "Release"):
            deps.generate()
        # Licenses of the linked libraries require their text to be distributed with libdicube.
        for dependency in self.dependencies.host.values():
            copy(
                self,
                "*",
                os.path.join(dependency.package_folder, "licenses"),
                os.path.join(self.generators_folder, "licenses", dependency.ref.name),
            )

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def package(self):
        CMake(self).install()
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))

    def package_info(self):
        self.cpp_info.set_property("cmake_file_name", "dicube")
        self.cpp_info.set_property("cmake_target_name", "dicube::dicube")
        self.cpp_info.set_property("pkg_config_name", "dicube")
        self.cpp_info.libs = ["dicube"]
