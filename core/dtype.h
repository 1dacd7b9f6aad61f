#pragma once
#include <string>
#include <type_traits>
#include <utility>

#include "core/error.h"
#include "core/float16.h"

namespace vitrine {

/// Element types. bf16 and f16 are storage types: arithmetic on them happens in `accumulate_t`.
enum class Dtype : int8_t { f64, f32, bf16, f16, i64, i32, u8, boolean };
inline constexpr Dtype kAllDtypes[] = {Dtype::f64, Dtype::f32, Dtype::bf16, Dtype::f16,
                                       Dtype::i64, Dtype::i32, Dtype::u8,   Dtype::boolean};

/// The Dtype of a C++ element type.
template <class T>
inline constexpr Dtype dtype_of = dtype_of<std::remove_const_t<T>>;
template <>
inline constexpr Dtype dtype_of<double> = Dtype::f64;
template <>
inline constexpr Dtype dtype_of<float> = Dtype::f32;
template <>
inline constexpr Dtype dtype_of<bf16> = Dtype::bf16;
template <>
inline constexpr Dtype dtype_of<f16> = Dtype::f16;
template <>
inline constexpr Dtype dtype_of<int64_t> = Dtype::i64;
template <>
inline constexpr Dtype dtype_of<int32_t> = Dtype::i32;
template <>
inline constexpr Dtype dtype_of<uint8_t> = Dtype::u8;
template <>
inline constexpr Dtype dtype_of<bool> = Dtype::boolean;

/// Bytes per element.
constexpr int64_t size_of(Dtype d) {
  switch (d) {
    case Dtype::f64:
    case Dtype::i64:
      return 8;
    case Dtype::f32:
    case Dtype::i32:
      return 4;
    case Dtype::bf16:
    case Dtype::f16:
      return 2;
    default:
      return 1;
  }
}
/// f64, f32, bf16, f16.
constexpr bool is_floating(Dtype d) { return d <= Dtype::f16; }
/// i64, i32, u8; a boolean is neither.
constexpr bool is_integral(Dtype d) { return d >= Dtype::i64 && d <= Dtype::u8; }

/// "f64", "f32", "bf16", "f16", "i64", "i32", "u8", "bool".
std::string to_string(Dtype d);
/// Reads the names above. @throws DtypeError naming the valid ones
Dtype parse_dtype(const std::string& text);
/// Distance from 1 to the next value: the unit of the tolerances in tests.
double epsilon(Dtype d);

namespace detail {
template <class T>
struct Accumulate {
  using type = T;
};
template <>
struct Accumulate<bf16> {
  using type = float;
};
template <>
struct Accumulate<f16> {
  using type = float;
};
[[noreturn]] void bad_dispatch(const char* wanted, Dtype got);
}  // namespace detail

/// The type in which sums and elementwise arithmetic on T happen: f32 for bf16 and f16, T itself otherwise.
template <class T>
using accumulate_t = typename detail::Accumulate<T>::type;

/// Converts between element types. Integers from floats truncate toward zero; anything to bool tests against zero.
template <class To, class From>
VITRINE_HD To convert(From x) {
  if constexpr (std::is_same_v<To, bool>) {
    return accumulate_t<From>(x) != accumulate_t<From>(0);
  } else if constexpr (is_floating(dtype_of<To>)) {
    return To(accumulate_t<To>(accumulate_t<From>(x)));
  } else {
    return To(accumulate_t<From>(x));
  }
}

/// Calls `f.template operator()<T>()` with the element type of a floating dtype. These three are the only dtype
/// switches.
template <class F>
decltype(auto) dispatch_floating(Dtype d, F&& f) {
  switch (d) {
    case Dtype::f64:
      return f.template operator()<double>();
    case Dtype::f32:
      return f.template operator()<float>();
    case Dtype::bf16:
      return f.template operator()<bf16>();
    case Dtype::f16:
      return f.template operator()<f16>();
    default:
      detail::bad_dispatch("a floating", d);
  }
}
/// As dispatch_floating, for i64, i32 and u8.
template <class F>
decltype(auto) dispatch_integral(Dtype d, F&& f) {
  switch (d) {
    case Dtype::i64:
      return f.template operator()<int64_t>();
    case Dtype::i32:
      return f.template operator()<int32_t>();
    case Dtype::u8:
      return f.template operator()<uint8_t>();
    default:
      detail::bad_dispatch("an integer", d);
  }
}
/// As dispatch_floating, for every dtype.
template <class F>
decltype(auto) dispatch_all(Dtype d, F&& f) {
  if (d == Dtype::boolean) return f.template operator()<bool>();
  if (is_floating(d)) return dispatch_floating(d, std::forward<F>(f));
  return dispatch_integral(d, std::forward<F>(f));
}

}  // namespace vitrine
