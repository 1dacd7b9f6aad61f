#pragma once
#include <algorithm>
#include <type_traits>

#include "core/allocator.h"
#include "core/microkernel.h"
#include "core/reduce_row.h"
#include "core/tensor.h"

/// Memory of the tasks of fused attention on a CPU, and the rows of a head. Private to attention and the ops that add
/// terms to it.
namespace vitrine::ops::attention_cpu {

constexpr int kLine = 16;                 // rows of scores are padded to this many elements
constexpr int64_t kScoreBytes = 1 << 17;  // of one block of scores
constexpr int64_t kTasks = 16;            // the forward splits the queries of a head until there are about so many

/// The smallest multiple of `unit` that is at least n.
constexpr int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

/// Elements from one row of `columns` scores to the next: whole lines, an odd number of them, so that the rows of a
/// column spread over the sets of the first-level cache.
constexpr int64_t row_stride(int64_t columns) { return (round_up(columns, kLine) / kLine | 1) * kLine; }

/// Query rows in a block: equal blocks of whole register tiles, as many as kScoreBytes allows.
inline int64_t block_rows(int64_t queries, int64_t row_bytes) {
  constexpr int64_t kTile = kTileRows<float>;
  const int64_t most = std::max(kTile, kScoreBytes / std::max<int64_t>(1, row_bytes) / kTile * kTile);
  const int64_t blocks = (queries + most - 1) / most;
  return round_up((queries + blocks - 1) / blocks, kTile);
}

/// Memory of one task, from the allocator (so that its statistics show it).
template <class A>
class Scratch {
 public:
  explicit Scratch(int64_t elements)
      : bytes_(size_t(elements) * sizeof(A)), data_(allocator(Device::cpu()).allocate(bytes_)) {}
  ~Scratch() { allocator(Device::cpu()).free(data_, bytes_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  /// The next `elements`, a multiple of kLine, from the front: of A or a type of its size.
  template <class E = A>
  E* take(int64_t elements) {
    static_assert(sizeof(E) == sizeof(A));
    E* p = reinterpret_cast<E*>(data_) + taken_;
    taken_ += elements;
    return p;
  }

 private:
  size_t bytes_;
  std::byte* data_;
  int64_t taken_ = 0;
};

/// One (b, h) of a [B, H, L, D] (or [B, H, Lq, Lk]) tensor.
template <class T>
struct Matrix {
  T* data = nullptr;
  int64_t row = 0, column = 0;
  T* at(int64_t i) const { return data + i * row; }
};
/// (b, h) of x, to read; null data if x is undefined.
template <class T>
Matrix<const T> matrix(const Tensor& x, int64_t b, int64_t h) {
  if (!x.defined()) return {};
  return {x.data<T>() + b * x.stride(0) + h * x.stride(1), x.stride(2), x.stride(3)};
}
/// `data` is x.mutable_data<T>(), taken once before the tasks start.
template <class T>
Matrix<T> matrix_of(T* data, const Tensor& x, int64_t b, int64_t h) {
  if (!data) return {};
  return {data + b * x.stride(0) + h * x.stride(1), x.stride(2), x.stride(3)};
}
/// Its data to write to, null if x is undefined.
template <class T>
T* writable(Tensor& x) {
  return x.defined() ? x.mutable_data<T>() : nullptr;
}

/// Brings row i into the second-level cache. The rows of a head lie apart in memory, which the hardware's prefetcher
/// does not follow, so the row loops ask for the next head's rows while they compute.
template <class T>
void prefetch_row(Matrix<T> x, int64_t i, int64_t rows, int64_t d) {
  constexpr int64_t kStep = 64 / int64_t(sizeof(T));
  if (!x.data || x.column != 1 || i >= rows) return;
  for (int64_t c = 0; c < d; c += kStep) __builtin_prefetch(x.at(i) + c, !std::is_const_v<T>, 2);
}
/// The head after `bh` of x, without data if there is none.
template <class T>
Matrix<const T> next_head(const Tensor& x, int64_t bh) {
  const int64_t heads = x.size(1), next = bh + 1;
  return next < x.size(0) * heads ? matrix<T>(x, next / heads, next % heads) : Matrix<const T>{};
}

/// y = factor * x, one row.
template <class T, class A>
void store_row(const A* x, A factor, int64_t d, T* y, int64_t column) {
  if (column == 1) {
    map_row<A>(
        d, A(0), [factor](auto v) { return v * factor; }, y, x);
  } else {
    for (int64_t c = 0; c < d; ++c) y[c * column] = T(x[c] * factor);
  }
}

}  // namespace vitrine::ops::attention_cpu
