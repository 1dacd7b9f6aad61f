#pragma once
#include <cstddef>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

/// The address sanitizer's annotations; nothing without it.
namespace vitrine::emulator::sanitizer {
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kAddress = true;
inline void poison(const void* p, size_t bytes) { __asan_poison_memory_region(p, bytes); }
inline void unpoison(const void* p, size_t bytes) { __asan_unpoison_memory_region(p, bytes); }
inline void start_switch(void** save, const void* low, size_t bytes) {
  __sanitizer_start_switch_fiber(save, low, bytes);
}
inline void finish_switch(void* save, const void** low, size_t* bytes) {
  __sanitizer_finish_switch_fiber(save, low, bytes);
}
#else
inline constexpr bool kAddress = false;
inline void poison(const void*, size_t) {}
inline void unpoison(const void*, size_t) {}
inline void start_switch(void**, const void*, size_t) {}
inline void finish_switch(void*, const void**, size_t*) {}
#endif
}  // namespace vitrine::emulator::sanitizer
