#pragma once
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <concepts>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/cuda/emulator/emulator.h"

/// CUDA's keywords and built-in functions for the host compiler: as much of them as the kernel dialect uses.
/// Included by core/cuda/device.h in place of nvcc's own.

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) alignas(n)

#define threadIdx (::vitrine::emulator::builtins.thread)
#define blockIdx (::vitrine::emulator::builtins.block)
#define blockDim (::vitrine::emulator::builtins.block_dim)
#define gridDim (::vitrine::emulator::builtins.grid_dim)

#if defined(VITRINE_CHECK) && defined(__clang_major__) && __clang_major__ < 15
#error "the check flavour needs g++, or clang 15: older ones do not report copies of structures to the checker"
#endif

// Every barrier of the source passes a place of its own, so that an optimiser cannot merge two of them, and so that
// threads which meet in different barriers are noticed.
#define VITRINE_TEXT_(x) #x
#define VITRINE_TEXT(x) VITRINE_TEXT_(x)
#define VITRINE_PLACE __FILE__ ":" VITRINE_TEXT(__LINE__) "#" VITRINE_TEXT(__COUNTER__)
#define __syncthreads() ((void)::vitrine::emulator::block_barrier(VITRINE_PLACE))
#define __syncthreads_or(p) ::vitrine::emulator::block_barrier(VITRINE_PLACE, ::vitrine::emulator::Vote::any, (p) != 0)
#define __syncthreads_and(p) ::vitrine::emulator::block_barrier(VITRINE_PLACE, ::vitrine::emulator::Vote::all, (p) != 0)
#define __syncthreads_count(p) \
  ::vitrine::emulator::block_barrier(VITRINE_PLACE, ::vitrine::emulator::Vote::count, (p) != 0)

#define VITRINE_SHARED_ALIGNED(align, type, name, ...) \
  using vitrine_shared_##name = type __VA_ARGS__;      \
  static constexpr char vitrine_key_##name = 0;        \
  auto& name = *static_cast<vitrine_shared_##name*>(   \
      ::vitrine::emulator::shared_array(&vitrine_key_##name, sizeof(vitrine_shared_##name), align, #name))
#define VITRINE_SHARED(type, name, ...) VITRINE_SHARED_ALIGNED(alignof(type), type, name, __VA_ARGS__)
#define VITRINE_SHARED_DYNAMIC(raw) unsigned char* const raw = ::vitrine::emulator::dynamic_shared()

namespace vitrine {
inline namespace emulated_world {

inline constexpr int warpSize = 32;

namespace builtin {

/// The types that CUDA shuffles.
template <class T>
concept Word = std::is_arithmetic_v<T> && !std::is_same_v<T, bool> && (sizeof(T) == 4 || sizeof(T) == 8);
template <class T>
concept Word32 = std::is_same_v<T, int> || std::is_same_v<T, unsigned>;

// A collective is a request type and a function over the requests of all lanes.
template <class T>
struct Shuffle {
  T in, out;
  int from;
};
template <class T>
void run_shuffle(void** requests, unsigned members) {
  for (unsigned m = members; m; m &= m - 1) {
    auto* r = static_cast<Shuffle<T>*>(requests[__builtin_ctz(m)]);
    if (!(members >> r->from & 1)) {
      emulator::fail("shuffle: lane %d reads lane %d, which takes no part", __builtin_ctz(m), r->from);
    }
    r->out = static_cast<Shuffle<T>*>(requests[r->from])->in;
  }
}
template <class T>
T shuffle(unsigned mask, const char* name, T value, int from, emulator::Place place) {
  Shuffle<T> request{value, value, from};
  emulator::warp_collective(mask, name, &request, run_shuffle<T>, place);
  return request.out;
}
inline void check_width(const char* name, int width) {
  if (width < 1 || width > 32 || (width & (width - 1))) emulator::fail("%s: width %d is no power of two", name, width);
}

struct Predicate {
  bool in;
  unsigned out;
};
inline void run_ballot(void** requests, unsigned members) {
  unsigned votes = 0;
  for (unsigned m = members; m; m &= m - 1) {
    const int l = __builtin_ctz(m);
    votes |= unsigned(static_cast<Predicate*>(requests[l])->in) << l;
  }
  for (unsigned m = members; m; m &= m - 1) static_cast<Predicate*>(requests[__builtin_ctz(m)])->out = votes;
}
inline void run_any(void** requests, unsigned members) {
  run_ballot(requests, members);
  for (unsigned m = members; m; m &= m - 1) {
    auto* r = static_cast<Predicate*>(requests[__builtin_ctz(m)]);
    r->out = r->out != 0;
  }
}
inline void run_all(void** requests, unsigned members) {
  run_ballot(requests, members);
  for (unsigned m = members; m; m &= m - 1) {
    auto* r = static_cast<Predicate*>(requests[__builtin_ctz(m)]);
    r->out = r->out == members;
  }
}
inline unsigned vote(unsigned mask, const char* name, bool in, emulator::Collective run, emulator::Place place) {
  Predicate request{in, 0};
  emulator::warp_collective(mask, name, &request, run, place);
  return request.out;
}

template <class T>
struct Value {
  T in, out;
};
template <class T, class Op>
void run_reduce(void** requests, unsigned members) {
  T total = static_cast<Value<T>*>(requests[__builtin_ctz(members)])->in;
  for (unsigned m = members & (members - 1); m; m &= m - 1) {
    total = Op::apply(total, static_cast<Value<T>*>(requests[__builtin_ctz(m)])->in);
  }
  for (unsigned m = members; m; m &= m - 1) static_cast<Value<T>*>(requests[__builtin_ctz(m)])->out = total;
}
template <class Op, class T>
T reduce(unsigned mask, const char* name, T in, emulator::Place place) {
  Value<T> request{in, in};
  emulator::warp_collective(mask, name, &request, run_reduce<T, Op>, place);
  return request.out;
}
struct Add {
  static int apply(int a, int b) { return int(unsigned(a) + unsigned(b)); }
  static unsigned apply(unsigned a, unsigned b) { return a + b; }
};
struct Min {
  template <class T>
  static T apply(T a, T b) {
    return b < a ? b : a;
  }
};
struct Max {
  template <class T>
  static T apply(T a, T b) {
    return a < b ? b : a;
  }
};
struct And {
  static unsigned apply(unsigned a, unsigned b) { return a & b; }
};
struct Or {
  static unsigned apply(unsigned a, unsigned b) { return a | b; }
};
struct Xor {
  static unsigned apply(unsigned a, unsigned b) { return a ^ b; }
};

template <class T>
struct Match {
  T in;
  unsigned out;
};
template <class T>
void run_match(void** requests, unsigned members) {
  for (unsigned m = members; m; m &= m - 1) {
    auto* r = static_cast<Match<T>*>(requests[__builtin_ctz(m)]);
    r->out = 0;
    for (unsigned k = members; k; k &= k - 1) {
      const int l = __builtin_ctz(k);
      // Bits are compared, as the hardware does: -0.0 differs from 0.0, and a NaN equals itself.
      if (!memcmp(&static_cast<Match<T>*>(requests[l])->in, &r->in, sizeof(T))) r->out |= 1u << l;
    }
  }
}

}  // namespace builtin

// ---- Warp collectives -------------------------------------------------------------------------------------------

inline void __syncwarp(unsigned mask = ~0u, emulator::Place place = emulator::Place::here()) {
  emulator::warp_collective(mask, "__syncwarp", nullptr, emulator::run_syncwarp, place);
}

template <builtin::Word T>
T __shfl_sync(unsigned mask, T value, int from, int width = 32, emulator::Place place = emulator::Place::here()) {
  builtin::check_width("__shfl_sync", width);
  const int base = emulator::lane() & ~(width - 1);
  return builtin::shuffle(mask, "__shfl_sync", value, base | (from & (width - 1)), place);
}
template <builtin::Word T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 emulator::Place place = emulator::Place::here()) {
  builtin::check_width("__shfl_up_sync", width);
  const int lane = emulator::lane(), from = lane - int(delta & 31);
  return builtin::shuffle(mask, "__shfl_up_sync", value, from < (lane & ~(width - 1)) ? lane : from, place);
}
template <builtin::Word T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   emulator::Place place = emulator::Place::here()) {
  builtin::check_width("__shfl_down_sync", width);
  const int lane = emulator::lane(), from = lane + int(delta & 31);
  return builtin::shuffle(mask, "__shfl_down_sync", value, from > (lane | (width - 1)) ? lane : from, place);
}
template <builtin::Word T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, emulator::Place place = emulator::Place::here()) {
  builtin::check_width("__shfl_xor_sync", width);
  const int lane = emulator::lane(), from = lane ^ (bits & 31);
  return builtin::shuffle(mask, "__shfl_xor_sync", value, from > (lane | (width - 1)) ? lane : from, place);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, emulator::Place place = emulator::Place::here()) {
  return builtin::vote(mask, "__ballot_sync", predicate != 0, builtin::run_ballot, place);
}
inline int __any_sync(unsigned mask, int predicate, emulator::Place place = emulator::Place::here()) {
  return int(builtin::vote(mask, "__any_sync", predicate != 0, builtin::run_any, place));
}
inline int __all_sync(unsigned mask, int predicate, emulator::Place place = emulator::Place::here()) {
  return int(builtin::vote(mask, "__all_sync", predicate != 0, builtin::run_all, place));
}

template <builtin::Word32 T>
T __reduce_add_sync(unsigned mask, T value, emulator::Place place = emulator::Place::here()) {
  return builtin::reduce<builtin::Add>(mask, "__reduce_add_sync", value, place);
}
template <builtin::Word32 T>
T __reduce_min_sync(unsigned mask, T value, emulator::Place place = emulator::Place::here()) {
  return builtin::reduce<builtin::Min>(mask, "__reduce_min_sync", value, place);
}
template <builtin::Word32 T>
T __reduce_max_sync(unsigned mask, T value, emulator::Place place = emulator::Place::here()) {
  return builtin::reduce<builtin::Max>(mask, "__reduce_max_sync", value, place);
}
inline unsigned __reduce_and_sync(unsigned mask, unsigned value, emulator::Place place = emulator::Place::here()) {
  return builtin::reduce<builtin::And>(mask, "__reduce_and_sync", value, place);
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned value, emulator::Place place = emulator::Place::here()) {
  return builtin::reduce<builtin::Or>(mask, "__reduce_or_sync", value, place);
}
inline unsigned __reduce_xor_sync(unsigned mask, unsigned value, emulator::Place place = emulator::Place::here()) {
  return builtin::reduce<builtin::Xor>(mask, "__reduce_xor_sync", value, place);
}
template <builtin::Word T>
unsigned __match_any_sync(unsigned mask, T value, emulator::Place place = emulator::Place::here()) {
  builtin::Match<T> request{value, 0};
  emulator::warp_collective(mask, "__match_any_sync", &request, builtin::run_match<T>, place);
  return request.out;
}

// ---- Atomics: relaxed, they order nothing else ------------------------------------------------------------------

namespace builtin {
/// The integer of a type's size, in which floating values are exchanged.
template <class T>
using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
template <class T, class F>
T update_bits(T* address, F&& f) {
  using B = Bits<T>;
  emulator::atomic_point();
  B before = __atomic_load_n(reinterpret_cast<B*>(address), __ATOMIC_RELAXED), after;
  T old;
  do {
    memcpy(&old, &before, sizeof(T));
    const T value = f(old);
    memcpy(&after, &value, sizeof(T));
  } while (!__atomic_compare_exchange_n(reinterpret_cast<B*>(address), &before, after, true, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED));
  return old;
}
template <class T>
concept AtomicInteger = std::is_same_v<T, int> || std::is_same_v<T, unsigned> || std::is_same_v<T, unsigned long long>;
}  // namespace builtin

template <builtin::AtomicInteger T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  emulator::atomic_point();
  return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
}
#define VITRINE_FLOAT_ATOMIC \
  [[deprecated("a sum of floats must not depend on the order of threads: add in a fixed order")]]
VITRINE_FLOAT_ATOMIC inline float atomicAdd(float* address, float value) {
  return builtin::update_bits(address, [=](float x) { return x + value; });
}
VITRINE_FLOAT_ATOMIC inline double atomicAdd(double* address, double value) {
  return builtin::update_bits(address, [=](double x) { return x + value; });
}
#undef VITRINE_FLOAT_ATOMIC
template <builtin::AtomicInteger T>
T atomicSub(T* address, std::type_identity_t<T> value) {
  emulator::atomic_point();
  return __atomic_fetch_sub(address, value, __ATOMIC_RELAXED);
}
template <builtin::AtomicInteger T>
T atomicAnd(T* address, std::type_identity_t<T> value) {
  emulator::atomic_point();
  return __atomic_fetch_and(address, value, __ATOMIC_RELAXED);
}
template <builtin::AtomicInteger T>
T atomicOr(T* address, std::type_identity_t<T> value) {
  emulator::atomic_point();
  return __atomic_fetch_or(address, value, __ATOMIC_RELAXED);
}
template <builtin::AtomicInteger T>
T atomicXor(T* address, std::type_identity_t<T> value) {
  emulator::atomic_point();
  return __atomic_fetch_xor(address, value, __ATOMIC_RELAXED);
}
template <builtin::AtomicInteger T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  return builtin::update_bits(address, [=](T x) { return value < x ? value : x; });
}
template <builtin::AtomicInteger T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  return builtin::update_bits(address, [=](T x) { return x < value ? value : x; });
}
template <class T>
requires builtin::AtomicInteger<T> || std::is_same_v<T, float> T atomicExch(T* address, std::type_identity_t<T> value) {
  return builtin::update_bits(address, [=](T) { return value; });
}
template <builtin::AtomicInteger T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  emulator::atomic_point();
  __atomic_compare_exchange_n(address, &expected, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  return expected;
}
inline unsigned atomicInc(unsigned* address, unsigned limit) {
  return builtin::update_bits(address, [=](unsigned x) { return x >= limit ? 0 : x + 1; });
}
inline unsigned atomicDec(unsigned* address, unsigned limit) {
  return builtin::update_bits(address, [=](unsigned x) { return x == 0 || x > limit ? limit : x - 1; });
}

// ---- Loads, bits and conversions --------------------------------------------------------------------------------

template <class T>
T __ldg(const T* address) {
  return *address;
}
inline unsigned __float_as_uint(float x) {
  unsigned u;
  memcpy(&u, &x, 4);
  return u;
}
inline float __uint_as_float(unsigned u) {
  float x;
  memcpy(&x, &u, 4);
  return x;
}
inline int __float_as_int(float x) { return int(__float_as_uint(x)); }
inline float __int_as_float(int i) { return __uint_as_float(unsigned(i)); }
inline long long __double_as_longlong(double x) {
  long long i;
  memcpy(&i, &x, 8);
  return i;
}
inline double __longlong_as_double(long long i) {
  double x;
  memcpy(&x, &i, 8);
  return x;
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline unsigned __brev(unsigned x) {
  unsigned r = 0;
  for (int i = 0; i < 32; ++i) r |= (x >> i & 1) << (31 - i);
  return r;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned(uint64_t(a) * b >> 32); }
inline int __mulhi(int a, int b) { return int(int64_t(a) * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  __extension__ using Wide = unsigned __int128;
  return (unsigned long long)(Wide(a) * b >> 64);
}
inline int __float2int_rn(float x) { return int(lrintf(x)); }
inline int __float2int_rd(float x) { return int(floorf(x)); }
inline int __float2int_ru(float x) { return int(ceilf(x)); }
inline int __float2int_rz(float x) { return int(x); }

// ---- Mathematics that libm does not have under CUDA's names -----------------------------------------------------

inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float rsqrt(float x) { return rsqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float fdividef(float a, float b) { return a / b; }
inline float __fdividef(float a, float b) { return a / b; }
inline float __expf(float x) { return expf(x); }
inline float __exp10f(float x) { return powf(10.0f, x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __log10f(float x) { return log10f(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __tanf(float x) { return tanf(x); }
inline void __sincosf(float x, float* s, float* c) { *s = sinf(x), *c = cosf(x); }
inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1.0f) : 0.0f; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
// `volatile` keeps the compiler from contracting these into fused multiply-adds; that is what they are for.
inline float __fadd_rn(float a, float b) {
  volatile float r = a + b;
  return r;
}
inline float __fmul_rn(float a, float b) {
  volatile float r = a * b;
  return r;
}
inline double __dadd_rn(double a, double b) {
  volatile double r = a + b;
  return r;
}
inline double __dmul_rn(double a, double b) {
  volatile double r = a * b;
  return r;
}

// CUDA's overloads of min and max, neither more nor fewer: a call that is ambiguous there is ambiguous here.
// A NaN gives way to the other operand.
#define VITRINE_MIN_MAX(R, A, B)                          \
  inline R min(A a, B b) {                                \
    const R x = static_cast<R>(a), y = static_cast<R>(b); \
    return y < x ? y : x;                                 \
  }                                                       \
  inline R max(A a, B b) {                                \
    const R x = static_cast<R>(a), y = static_cast<R>(b); \
    return x < y ? y : x;                                 \
  }
VITRINE_MIN_MAX(int, int, int)
VITRINE_MIN_MAX(unsigned, unsigned, unsigned)
VITRINE_MIN_MAX(unsigned, int, unsigned)
VITRINE_MIN_MAX(unsigned, unsigned, int)
VITRINE_MIN_MAX(long, long, long)
VITRINE_MIN_MAX(unsigned long, unsigned long, unsigned long)
VITRINE_MIN_MAX(unsigned long, long, unsigned long)
VITRINE_MIN_MAX(unsigned long, unsigned long, long)
VITRINE_MIN_MAX(long long, long long, long long)
VITRINE_MIN_MAX(unsigned long long, unsigned long long, unsigned long long)
VITRINE_MIN_MAX(unsigned long long, long long, unsigned long long)
VITRINE_MIN_MAX(unsigned long long, unsigned long long, long long)
#undef VITRINE_MIN_MAX
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
inline double min(float a, double b) { return fmin(double(a), b); }
inline double max(float a, double b) { return fmax(double(a), b); }
inline double min(double a, float b) { return fmin(a, double(b)); }
inline double max(double a, float b) { return fmax(a, double(b)); }

}  // namespace emulated_world
}  // namespace vitrine
