"""Highway: SIMD dispatch, used by libjxl. Only the core library, without contrib and tests."""

from conan import ConanFile
from conan.tools.cmake import CMake


class HighwayRecipe(ConanFile):
    name = "highway"
    license = "Apache-2.0 OR BSD-3-Clause"
    homepage = "https://github.com/google/highway"
    python_requires = "pinned-source/1.1"
    python_requires_extend = "pinned-source.PinnedStaticLibrary"

    def generate(self):
        self.static_toolchain(
            HWY_ENABLE_CONTRIB=False,
            HWY_ENABLE_EXAMPLES=False,
            HWY_ENABLE_TESTS=False,
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
        self.cpp_info.set_property("pkg_config_name", "libhwy")
        self.cpp_info.libs = ["hwy"]
        self.cpp_info.defines = ["HWY_STATIC_DEFINE"]
