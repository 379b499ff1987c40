"""Brotli: compresses libjxl's metadata boxes and JPEG reconstruction data."""

from conan import ConanFile
from conan.tools.cmake import CMake


class BrotliRecipe(ConanFile):
    name = "brotli"
    license = "MIT"
    homepage = "https://github.com/google/brotli"
    python_requires = "pinned-source/1.1"
    python_requires_extend = "pinned-source.PinnedStaticLibrary"
    languages = "C"

    def generate(self):
        self.static_toolchain(BROTLI_BUNDLED_MODE=False, BROTLI_DISABLE_TESTS=True).generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def package(self):
        CMake(self).install()
        self.copy_licenses()
        self.drop_installed_configs()

    def package_info(self):
        for part, requires in (
            ("common", []),
            ("dec", ["brotlicommon"]),
            ("enc", ["brotlicommon"]),
        ):
            component = self.cpp_info.components[f"brotli{part}"]
            component.set_property("pkg_config_name", f"libbrotli{part}")
            component.libs = [f"brotli{part}"]
            component.requires = requires
            if self.settings.os in ("Linux", "FreeBSD"):
                component.system_libs = ["m"]
