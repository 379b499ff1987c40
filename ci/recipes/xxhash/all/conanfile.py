"""xxHash: the container's checksums. Its one header, for use with XXH_INLINE_ALL."""

import os

from conan import ConanFile
from conan.tools.files import copy
from conan.tools.layout import basic_layout


class XxhashRecipe(ConanFile):
    name = "xxhash"
    license = "BSD-2-Clause"
    homepage = "https://github.com/Cyan4973/xxHash"
    python_requires = "pinned-source/1.1"
    python_requires_extend = "pinned-source.PinnedSource"
    package_type = "header-library"

    def layout(self):
        basic_layout(self, src_folder="src")

    def package(self):
        copy(self, "xxhash.h", self.source_folder, os.path.join(self.package_folder, "include"))
        self.copy_licenses()

    def package_info(self):
        self.cpp_info.bindirs = []
        self.cpp_info.libdirs = []
