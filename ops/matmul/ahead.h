#pragma once
#include <cstdint>

#include "core/float16.h"
#include "core/scratch.h"

namespace vitrine {

/// Some rows of a matrix in bf16 whose columns are contiguous.
struct Rows {
  const bf16* data;
  int64_t columns, stride;
  const bf16* at(int64_t i) const { return data + i * stride; }
};

/// Asks the memory for the lines of some rows, to be read or written, in as many equal shares as there are products to
/// compute meanwhile.
class Ahead {
 public:
  Ahead(Rows x, int64_t first, int64_t rows, int64_t shares)
      : row_(reinterpret_cast<const char*>(x.at(first))),
        end_(row_ + rows * x.stride * kSize),
        stride_(x.stride * kSize),
        columns_(x.columns * kSize),
        share_(parts(rows * parts(columns_, kLineSize), shares)) {}
  void read() {
    next([](const char* line) { __builtin_prefetch(line, 0, 2); });
  }
  void write() {
    next([](const char* line) { __builtin_prefetch(line, 1); });
  }

 private:
  static constexpr int64_t kLineSize = 64, kSize = sizeof(bf16);
  template <class F>
  void next(F ask) {
    for (int64_t line = 0; line < share_ && row_ != end_; ++line) {
      ask(row_ + column_);
      column_ += kLineSize;
      if (column_ >= columns_) row_ += stride_, column_ = 0;
    }
  }
  const char *row_, *end_;
  int64_t stride_, columns_, share_, column_ = 0;
};

}  // namespace vitrine
