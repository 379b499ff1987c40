"""Little CMS: libjxl's colour management. Only the library; its GPL plug-ins stay out."""

from conan import ConanFile
from conan.tools.cmake import CMake


class LcmsRecipe(ConanFile):
    name = "lcms"
    license = "MIT"
    homepage = "https://github.com/mm2/Little-CMS"
    python_requires = "pinned-source/1.1"
    python_requires_extend = "pinned-source.PinnedStaticLibrary"
    languages = "C"

    def generate(self):
        self.static_toolchain(
            LCMS2_BUILD_SHARED=False,
            LCMS2_BUILD_TOOLS=False,
            LCMS2_BUILD_TESTS=False,
            LCMS2_WITH_FASTFLOAT=False,
            LCMS2_WITH_THREADED_PLUGIN=False,
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
        self.cpp_info.set_property("pkg_config_name", "lcms2")
        self.cpp_info.libs = ["lcms2"]
        if self.settings.os in ("Linux", "FreeBSD"):
            self.cpp_info.system_libs = ["m", "pthread"]
