// The functions that code compiled with -fsanitize=thread calls before each memory access, in the check flavour.
// They take the place of libtsan, which is not linked: it knows nothing of fibers and of shared memory that is reused.
#if defined(VITRINE_CHECK)
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/cuda/emulator/checker.h"

namespace {
using vitrine::emulator::checker::Kind;
using vitrine::emulator::checker::note;
}  // namespace

#define CODE __builtin_return_address(0)
#define ENTRIES(N)                                                                           \
  void __tsan_read##N(void* p) { note(p, N, Kind::read, CODE, true); }                       \
  void __tsan_write##N(void* p) { note(p, N, Kind::write, CODE, true); }                     \
  void __tsan_unaligned_read##N(void* p) { note(p, N, Kind::read, CODE, false); }            \
  void __tsan_unaligned_write##N(void* p) { note(p, N, Kind::write, CODE, false); }          \
  void __tsan_volatile_read##N(void* p) { note(p, N, Kind::read, CODE, true); }              \
  void __tsan_volatile_write##N(void* p) { note(p, N, Kind::write, CODE, true); }            \
  void __tsan_unaligned_volatile_read##N(void* p) { note(p, N, Kind::read, CODE, false); }   \
  void __tsan_unaligned_volatile_write##N(void* p) { note(p, N, Kind::write, CODE, false); } \
  void __tsan_read_write##N(void* p) {                                                       \
    note(p, N, Kind::read, CODE, true);                                                      \
    note(p, N, Kind::write, CODE, true);                                                     \
  }

#define UPDATE(BITS, NAME)                                                                         \
  uint##BITS##_t __tsan_atomic##BITS##_##NAME(volatile uint##BITS##_t* p, uint##BITS##_t v, int) { \
    note(const_cast<uint##BITS##_t*>(p), BITS / 8, Kind::atomic_write, CODE, true);                \
    return __atomic_##NAME(p, v, __ATOMIC_SEQ_CST);                                                \
  }
#define ATOMICS(BITS)                                                                                            \
  uint##BITS##_t __tsan_atomic##BITS##_load(const volatile uint##BITS##_t* p, int) {                             \
    note(const_cast<const uint##BITS##_t*>(p), BITS / 8, Kind::atomic_read, CODE, true);                         \
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                                 \
  }                                                                                                              \
  void __tsan_atomic##BITS##_store(volatile uint##BITS##_t* p, uint##BITS##_t v, int) {                          \
    note(const_cast<uint##BITS##_t*>(p), BITS / 8, Kind::atomic_write, CODE, true);                              \
    __atomic_store_n(p, v, __ATOMIC_SEQ_CST);                                                                    \
  }                                                                                                              \
  uint##BITS##_t __tsan_atomic##BITS##_exchange(volatile uint##BITS##_t* p, uint##BITS##_t v, int) {             \
    note(const_cast<uint##BITS##_t*>(p), BITS / 8, Kind::atomic_write, CODE, true);                              \
    return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);                                                          \
  }                                                                                                              \
  UPDATE(BITS, fetch_add)                                                                                        \
  UPDATE(BITS, fetch_sub)                                                                                        \
  UPDATE(BITS, fetch_and)                                                                                        \
  UPDATE(BITS, fetch_or)                                                                                         \
  UPDATE(BITS, fetch_xor)                                                                                        \
  UPDATE(BITS, fetch_nand)                                                                                       \
  int __tsan_atomic##BITS##_compare_exchange_strong(volatile uint##BITS##_t* p, uint##BITS##_t* expected,        \
                                                    uint##BITS##_t v, int, int) {                                \
    note(const_cast<uint##BITS##_t*>(p), BITS / 8, Kind::atomic_write, CODE, true);                              \
    return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);               \
  }                                                                                                              \
  int __tsan_atomic##BITS##_compare_exchange_weak(volatile uint##BITS##_t* p, uint##BITS##_t* expected,          \
                                                  uint##BITS##_t v, int, int) {                                  \
    note(const_cast<uint##BITS##_t*>(p), BITS / 8, Kind::atomic_write, CODE, true);                              \
    return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);               \
  }                                                                                                              \
  uint##BITS##_t __tsan_atomic##BITS##_compare_exchange_val(volatile uint##BITS##_t* p, uint##BITS##_t expected, \
                                                            uint##BITS##_t v, int, int) {                        \
    note(const_cast<uint##BITS##_t*>(p), BITS / 8, Kind::atomic_write, CODE, true);                              \
    __atomic_compare_exchange_n(p, &expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                     \
    return expected;                                                                                             \
  }

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
void __tsan_atomic_signal_fence(int) {}
void __tsan_vptr_update(void** p, void*) { note(p, sizeof *p, Kind::write, CODE, true); }
void __tsan_vptr_read(void** p) { note(p, sizeof *p, Kind::read, CODE, true); }

ENTRIES(1)
ENTRIES(2)
ENTRIES(4)
ENTRIES(8)
ENTRIES(16)
ATOMICS(8)
ATOMICS(16)
ATOMICS(32)
ATOMICS(64)

void __tsan_read_range(void* p, size_t bytes) {
  if (bytes) note(p, bytes, Kind::read, CODE, false);
}
void __tsan_write_range(void* p, size_t bytes) {
  if (bytes) note(p, bytes, Kind::write, CODE, false);
}
void* __tsan_memcpy(void* to, const void* from, size_t bytes) {
  if (bytes) note(from, bytes, Kind::read, CODE, false), note(to, bytes, Kind::write, CODE, false);
  return memcpy(to, from, bytes);
}
void* __tsan_memmove(void* to, const void* from, size_t bytes) {
  if (bytes) note(from, bytes, Kind::read, CODE, false), note(to, bytes, Kind::write, CODE, false);
  return memmove(to, from, bytes);
}
void* __tsan_memset(void* to, int value, size_t bytes) {
  if (bytes) note(to, bytes, Kind::write, CODE, false);
  return memset(to, value, bytes);
}

}  // extern "C"
#endif
