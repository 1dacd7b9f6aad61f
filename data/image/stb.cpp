// The one file that compiles the stb libraries; CMakeLists.txt takes the undefined-behaviour sanitizer off it, because
// their JPEG decoder shifts negative numbers on purpose.
#include <cstdlib>

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include "data/image/stb.h"

namespace vitrine::data::stb {

void* reallocate(void* block, size_t bytes) { return bytes > largest_block ? nullptr : std::realloc(block, bytes); }

}  // namespace vitrine::data::stb
