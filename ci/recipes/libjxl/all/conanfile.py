"""libjxl: the JPEG XL encoder and decoder, without tools and plug-ins."""

import os

from conan import ConanFile
from conan.tools.cmake import CMake, CMakeDeps
from conan.tools.files import copy


class LibjxlRecipe(ConanFile):
    name = "libjxl"
    license = "BSD-3-Clause"
    homepage = "https://github.com/libjxl/libjxl"
    python_requires = "pinned-source/1.0"
    python_requires_extend = "pinned-source.PinnedStaticLibrary"

    def requirements(self):
        # Highway's types appear in no public header, but its code must reach the final link.
        self.requires("highway/1.2.0")
        self.requires("brotli/1.1.0")
        self.requires("lcms/2.19.1")

    def generate(self):
        unwanted = (
            "TOOLS",
            "JPEGLI",
            "DOXYGEN",
            "MANPAGES",
            "BENCHMARK",
            "EXAMPLES",
            "JNI",
            "SJPEG",
            "OPENEXR",
            "SKCMS",
            "TCMALLOC",
            "FUZZERS",
            "VIEWERS",
            "PLUGINS",
        )
        self.static_toolchain(
            **{f"JPEGXL_ENABLE_{part}": False for part in unwanted},
            # Lossless recompression of JPEG files, and the boxes its data travels in.
            JPEGXL_ENABLE_TRANSCODE_JPEG=True,
            JPEGXL_ENABLE_BOXES=True,
            JPEGXL_FORCE_SYSTEM_HWY=True,
            JPEGXL_FORCE_SYSTEM_BROTLI=True,
            JPEGXL_FORCE_SYSTEM_LCMS2=True,
            # libjxl looks for its dependencies in one directory and uses them in another.
            CMAKE_FIND_PACKAGE_TARGETS_GLOBAL=True,
        ).generate()

        # The find modules below replace libjxl's own, which might pick the system's libraries.
        deps = CMakeDeps(self)
        for package, module, targets in (
            ("highway", "HWY", {"highway": "hwy"}),
            ("lcms", "LCMS2", {"lcms": "lcms2"}),
            (
                "brotli",
                "Brotli",
                {f"brotli::brotli{part}": f"brotli{part}" for part in ("common", "dec", "enc")},
            ),
        ):
            deps.set_property(package, "cmake_find_mode", "module")
            deps.set_property(package, "cmake_module_file_name", module)
            for target, name in targets.items():
                deps.set_property(target, "cmake_module_target_name", name)
        deps.generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        for target in ("jxl", "jxl_threads"):
            cmake.build(target=target)

    def package(self):
        # Copied rather than installed: installing would first build all the rest.
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
        self.copy_license()

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
