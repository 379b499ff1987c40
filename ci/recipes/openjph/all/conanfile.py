"""OpenJPH: the High-Throughput JPEG 2000 encoder and decoder, SIMD chosen at run time, no tools."""

from conan import ConanFile
from conan.tools.cmake import CMake


class OpenjphRecipe(ConanFile):
    name = "openjph"
    license = "BSD-2-Clause"
    homepage = "https://github.com/aous72/OpenJPH"
    python_requires = "pinned-source/1.1"
    python_requires_extend = "pinned-source.PinnedStaticLibrary"

    def generate(self):
        self.static_toolchain(
            OJPH_BUILD_EXECUTABLES=False, OJPH_ENABLE_TIFF_SUPPORT=False
        ).generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def package(self):
        CMake(self).install()
        self.copy_licenses()
        self.drop_installed_configs()

    def package_info(self):
        self.cpp_info.set_property("pkg_config_name", "openjph")
        self.cpp_info.libs = ["openjph"]
        if self.settings.os in ("Linux", "FreeBSD"):
            self.cpp_info.system_libs = ["m"]
