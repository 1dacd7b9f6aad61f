#pragma once
#include <cstddef>
#include <cstdint>

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
namespace vitrine::sanitizer {
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kAddress = true;
#else
inline constexpr bool kAddress = false;
#endif

/// An access to one of `bytes` at p is an error from here on.
inline void poison([[maybe_unused]] const void* p, [[maybe_unused]] size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_poison_memory_region(p, bytes);
#endif
}
/// It is none any more.
inline void unpoison([[maybe_unused]] const void* p, [[maybe_unused]] size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(p, bytes);
#endif
}

/// Before a switch to the stack of `bytes` at `low`: `save` takes what belongs to this one.
inline void start_switch([[maybe_unused]] void** save, [[maybe_unused]] const void* low,
                         [[maybe_unused]] size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(save, low, bytes);
#endif
}
/// After it, with what was saved when this stack was left; `low` and `bytes` tell which stack it came from.
inline void finish_switch([[maybe_unused]] void* save, [[maybe_unused]] const void** low,
                          [[maybe_unused]] size_t* bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(save, low, bytes);
#endif
}

/// Ends the program with the sanitizer's report if a byte of `rows` rows of `columns` elements, `stride` elements from
/// one to the next, is not live memory: what an access to it would do, for code that is compiled without such checks.
template <class T>
void check_rows([[maybe_unused]] int64_t rows, [[maybe_unused]] const T* x, [[maybe_unused]] int64_t columns,
                [[maybe_unused]] int64_t stride) {
#if defined(__SANITIZE_ADDRESS__)
  const auto poisoned = [](const T* from, int64_t elements) {
    return static_cast<const char*>(__asan_region_is_poisoned(const_cast<T*>(from), size_t(elements) * sizeof(T)));
  };
  if (rows <= 0 || columns <= 0 || !poisoned(x, (rows - 1) * stride + columns)) return;
  for (int64_t i = 0; i < rows; ++i)  // what lies between the rows may be poisoned
    if (const volatile char* bad = poisoned(x + i * stride, columns)) (void)*bad;
#endif
}
}  // namespace vitrine::sanitizer
