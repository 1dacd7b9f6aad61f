#pragma once
/// stb_image and stb_image_write as this folder uses them; private to it. Their symbols stay inside the library, so
/// that a program may bring its own copy.
#include <cstddef>

#define STBIDEF __attribute__((visibility("hidden")))
#define STBIWDEF extern "C" __attribute__((visibility("hidden")))
#define STBI_NO_STDIO
#define STBI_WRITE_NO_STDIO
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#define STBI_ONLY_GIF
#define STBI_ONLY_PSD
#define STBI_FAILURE_USERMSG

namespace vitrine::data::stb {
/// The largest block that stb_image may ask for on this thread. A PNG of some kilobytes can inflate to gigabytes,
/// whatever size of picture its header states.
inline thread_local size_t largest_block = 0;
/// realloc, but null for more than largest_block bytes.
void* reallocate(void* block, size_t bytes);
}  // namespace vitrine::data::stb

#define STBI_MALLOC(bytes) vitrine::data::stb::reallocate(nullptr, bytes)
#define STBI_REALLOC(block, bytes) vitrine::data::stb::reallocate(block, bytes)
#define STBI_FREE(block) free(block)

#include <stb/stb_image.h>
#include <stb/stb_image_write.h>
