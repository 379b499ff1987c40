// The header compiles as C++ and its functions link from there.
#include <dicube/dicube.h>

#include <cstring>

#include "expect.h"

int main() {
    EXPECT(dicube_abi_version() == DICUBE_ABI_VERSION);
    EXPECT(std::strstr(dicube_build_info(), "libjxl") != nullptr);
    EXPECT(std::strstr(dicube_build_info(), "OpenJPH") != nullptr);
    return report();
}
