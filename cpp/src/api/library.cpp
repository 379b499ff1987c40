// The C ABI of the library itself: versions, the last error, checksums.
#include <string>

#include "codecs/codec.h"
#include "container.h"
#include "fence.h"
#include "recipes/recipe.h"

using namespace dicube;

uint32_t dicube_abi_version(void) { return DICUBE_ABI_VERSION; }

const char* dicube_version(void) {
    static const std::string text = std::to_string(DICUBE_VERSION_MAJOR) + '.' +
                                    std::to_string(DICUBE_VERSION_MINOR) + '.' +
                                    std::to_string(DICUBE_VERSION_PATCH);
    return text.c_str();
}

const char* dicube_build_info(void) {
    static const std::string text = [] {
#ifdef __VERSION__
        constexpr const char* compiler = __VERSION__;
#else
        constexpr const char* compiler = "unknown";
#endif
        std::string lines = std::string("dicube ") + dicube_version() + "\ncompiler " + compiler;
        for (const Codec* codec : codecs()) lines += '\n' + codec->version();
        for (const RecipeKind* kind : recipe_kinds())
            if (kind->version != nullptr) lines += '\n' + kind->version();
        return lines + DICUBE_LINKED;
    }();
    return text.c_str();
}

const char* dicube_last_error(void) { return api::last_error(); }

uint64_t dicube_checksum(const void* data, size_t size) {
    return checksum_of(Bytes(static_cast<const uint8_t*>(data), size));
}
