#pragma once
#include <cstdint>

#include "core/scratch.h"

namespace vitrine {

/// Some rows of a matrix whose columns are contiguous.
template <class T>
struct Rows {
  T* data;
  int64_t columns, stride;
  T* at(int64_t i) const { return data + i * stride; }
};

/// Asks the memory for the lines of some rows, to be read or written, in as many equal shares as there are products to
/// compute meanwhile.
class Ahead {
 public:
  template <class T>
  Ahead(Rows<T> x, int64_t first, int64_t rows, int64_t shares)
      : row_(reinterpret_cast<const char*>(x.at(first))),
        end_(row_ + rows * x.stride * int64_t(sizeof(T))),
        stride_(x.stride * int64_t(sizeof(T))),
        columns_(x.columns * int64_t(sizeof(T))),
        share_(parts(rows * parts(columns_, kLineSize), shares)) {}
  void read() {
    next([](const char* line) { __builtin_prefetch(line, 0, 2); });
  }
  void write() {
    next([](const char* line) { __builtin_prefetch(line, 1); });
  }

 private:
  static constexpr int64_t kLineSize = 64;
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
