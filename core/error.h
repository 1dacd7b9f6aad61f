#pragma once
#include <concepts>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>

#include "core/device.h"

namespace vitrine {

/// Every failure a caller can cause or meet is one of these; the message alone is enough to fix it.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct ShapeError : Error {
  using Error::Error;
};
struct DtypeError : Error {
  using Error::Error;
};
struct DeviceError : Error {
  using Error::Error;
};
struct ValueError : Error {
  using Error::Error;
};
struct AutogradError : Error {
  using Error::Error;
};
struct CudaError : Error {
  using Error::Error;
};
struct IoError : Error {
  using Error::Error;
};
struct OutOfMemory : Error {
  using Error::Error;
};
struct NotImplemented : Error {
  using Error::Error;
};
/// Work that cannot become part of a captured graph (core/captured_graph.h); nothing of it was done.
struct CaptureError : Error {
  using Error::Error;
};

/// `text` with each "{}" replaced by the next argument.
std::string format_list(std::string_view text, std::initializer_list<std::string> arguments);

/// What format() writes for an argument: text as it is, true or false, a double with 6 significant digits (%g).
inline std::string to_string(const std::string& s) { return s; }
inline std::string to_string(const char* s) { return s; }
inline std::string to_string(bool b) { return b ? "true" : "false"; }
std::string to_string(double x);
template <std::integral T>
std::string to_string(T x) {
  return std::to_string(x);
}

/// Formats with `{}`; anything with a `to_string` in namespace vitrine can be an argument (Tensor, Shape, Dtype,
/// Device, numbers).
template <class... A>
std::string format(std::string_view text, const A&... arguments) {
  return format_list(text, {to_string(arguments)...});
}

/// Throws `E` with the formatted message if `condition` is false. Formats only on failure.
template <class E = ShapeError, class... A>
void check(bool condition, std::string_view text, const A&... arguments) {
  if (!condition) [[unlikely]]
    throw E(format(text, arguments...));
}

}  // namespace vitrine
