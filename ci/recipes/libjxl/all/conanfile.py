"""libjxl: the JPEG XL encoder and decoder, without tools and plug-ins."""

import os

from conan import ConanFile
from conan.tools.cmake import CMake, CMakeDeps
from conan.tools.files import copy

UNWANTED = (
    "BENCHMARK DOXYGEN EXAMPLES FUZZERS JNI JPEGLI MANPAGES OPENEXR PLUGINS SJPEG SKCMS"
    " TCMALLOC TOOLS VIEWERS"
).split()

# Most of libjxl is compiled once for each instruction set. These are left out: those that libjxl
# itself leaves out, and SSE4, which takes a quarter of the build and gains little.
DISABLED_TARGETS = (
    "SSSE3 SSE4 AVX3 AVX3_DL AVX3_ZEN4 AVX3_SPR SVE SVE2 SVE_256 SVE2_128 RVV"
).split()


class LibjxlRecipe(ConanFile):
    name = "libjxl"
    license = "BSD-3-Clause"
    homepage = "https://github.com/libjxl/libjxl"
    python_requires = "pinned-source/1.1"
    python_requires_extend = "pinned-source.PinnedStaticLibrary"

    def requirements(self):
        # Highway's types appear in no public header, but its code must reach the final link.
        self.requires("highway/1.2.0")
        self.requires("brotli/1.1.0")
        self.requires("lcms/2.19.1")

    def generate(self):
        toolchain = self.static_toolchain(
            **{f"JPEGXL_ENABLE_{part}": False for part in UNWANTED},
            # Lossless recompression of JPEG files, and the boxes that hold its data.
            JPEGXL_ENABLE_TRANSCODE_JPEG=True,
            JPEGXL_ENABLE_BOXES=True,
            JPEGXL_FORCE_SYSTEM_HWY=True,
            JPEGXL_FORCE_SYSTEM_BROTLI=True,
            JPEGXL_FORCE_SYSTEM_LCMS2=True,
            # libjxl looks for its dependencies in one directory and uses them in another.
            CMAKE_FIND_PACKAGE_TARGETS_GLOBAL=True,
            # Lets the targets disabled below replace those of libjxl's CMakeLists.txt.
            JXL_HWY_DISABLED_TARGETS_FORCED=True,
        )
        disabled = "|".join(f"HWY_{target}" for target in DISABLED_TARGETS)
        toolchain.preprocessor_definitions["HWY_DISABLED_TARGETS"] = f"({disabled})"
        toolchain.generate()

        # The find modules below replace libjxl's own, which might pick the system's libraries.
        deps = CMakeDeps(self)
        for package, module in (("highway", "HWY"), ("brotli", "Brotli"), ("lcms", "LCMS2")):
            deps.set_property(package, "cmake_find_mode", "module")
            deps.set_property(package, "cmake_module_file_name", module)
        deps.set_property("highway", "cmake_module_target_name", "hwy")
        deps.set_property("lcms", "cmake_module_target_name", "lcms2")
        for part in ("brotlicommon", "brotlidec", "brotlienc"):
            deps.set_property(f"brotli::{part}", "cmake_module_target_name", part)
        deps.generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        for target in ("jxl", "jxl_threads"):
            cmake.build(target=target)

    def package(self):
        # Copied, because installing would first build all other targets.
        built = os.path.join(self.build_folder, "lib")
        copy(
            self,
            "*.h",
            os.path.join(built, "include"),
            os.path.join(self.package_folder, "include"),
        )
        for library in ("jxl", "jxl_cms", "jxl_threads"):
            for name in (f"lib{library}.a", f"{library}.lib"):
                copy(self, name, built, os.path.join(self.package_folder, "lib"))
        self.copy_licenses()

    def package_info(self):
        cms = self.cpp_info.components["jxl_cms"]
        cms.set_property("pkg_config_name", "libjxl_cms")
        cms.libs = ["jxl_cms"]
        cms.defines = ["JXL_CMS_STATIC_DEFINE"]
        cms.requires = ["highway::highway", "lcms::lcms"]

        jxl = self.cpp_info.components["jxl"]
        jxl.set_property("pkg_config_name", "libjxl")
        jxl.libs = ["jxl"]
        jxl.defines = ["JXL_STATIC_DEFINE"]
        jxl.requires = ["jxl_cms", "highway::highway", "brotli::brotlidec", "brotli::brotlienc"]
        if self.settings.os in ("Linux", "FreeBSD"):
            jxl.system_libs = ["m"]

        threads = self.cpp_info.components["jxl_threads"]
        threads.set_property("pkg_config_name", "libjxl_threads")
        threads.libs = ["jxl_threads"]
        threads.defines = ["JXL_THREADS_STATIC_DEFINE"]
        if self.settings.os in ("Linux", "FreeBSD"):
            threads.system_libs = ["pthread"]
