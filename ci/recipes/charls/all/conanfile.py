"""CharLS: the JPEG-LS encoder and decoder, no tools."""

from conan import ConanFile
from conan.tools.cmake import CMake


class CharlsRecipe(ConanFile):
    name = "charls"
    license = "BSD-3-Clause"
    homepage = "https://github.com/team-charls/charls"
    python_requires = "pinned-source/1.1"
    python_requires_extend = "pinned-source.PinnedStaticLibrary"

    def generate(self):
        self.static_toolchain(
            CHARLS_BUILD_TESTS=False,
            CHARLS_BUILD_FUZZ_TEST=False,
            CHARLS_BUILD_SAMPLES=False,
            CHARLS_INSTALL=True,
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
        self.cpp_info.libs = ["charls"]
        # Without it, headers for Windows expect a DLL.
        self.cpp_info.defines = ["CHARLS_STATIC"]
