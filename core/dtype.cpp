#include "core/dtype.h"

#include <cmath>

namespace vitrine {

std::string to_string(Dtype d) {
  static constexpr const char* kNames[] = {"f64", "f32", "bf16", "f16", "i64", "i32", "u8", "bool"};
  return kNames[int(d)];
}

Dtype parse_dtype(const std::string& text) {
  for (Dtype d : kAllDtypes)
    if (to_string(d) == text) return d;
  throw DtypeError("unknown dtype '" + text + "': write f64, f32, bf16, f16, i64, i32, u8 or bool");
}

double epsilon(Dtype d) {
  switch (d) {
    case Dtype::f64:
      return 0x1p-52;
    case Dtype::f32:
      return 0x1p-23;
    case Dtype::f16:
      return 0x1p-10;
    case Dtype::bf16:
      return 0x1p-7;
    default:
      return 0;
  }
}

void detail::bad_dispatch(const char* wanted, Dtype got) {
  const char* op = "kernel";
  throw DtypeError(format("{}: needs {} dtype, got {}", op, wanted, got));
}

}  // namespace vitrine
