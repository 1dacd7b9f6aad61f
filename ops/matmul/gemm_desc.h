#pragma once
#include <array>
#include <cstdint>

#include "core/dtype.h"

namespace vitrine {

/// One matrix, or batch of them, of a product. Element (b.., i, j) lies at batch . b + i * row + j * column, counted in
/// elements. A stride of 0 repeats.
struct GemmOperand {
  static constexpr int kMaxBatchDims = 6;
  Dtype type = Dtype::f32;
  int64_t row = 0, column = 1;
  std::array<int64_t, kMaxBatchDims> batch{};
  bool operator==(const GemmOperand&) const = default;
};

/// c [batch.., m, n] = a [batch.., m, k] * b [batch.., k, n] + bias [n], or c += a * b if `accumulate`, which excludes
/// a bias. a and b share a type, sums are kept in f32 (f64 for f64). Any strides for a and b; the columns of c are
/// contiguous and its rows do not overlap; the bias is dense. Sizes of 0 are allowed.
struct GemmDesc {
  int64_t m = 0, n = 0, k = 0;
  int batch_dims = 0;
  std::array<int64_t, GemmOperand::kMaxBatchDims> batch_shape{};
  GemmOperand a{}, b{}, c{};
  bool bias = false;
  Dtype bias_type = Dtype::f32;
  bool accumulate = false;
  bool operator==(const GemmDesc&) const = default;

  /// The number of products: the batch dimensions multiplied.
  int64_t batch_count() const {
    int64_t count = 1;
    for (int i = 0; i < batch_dims; ++i) count *= batch_shape[size_t(i)];
    return count;
  }
  /// Where matrix `index` of operand `x` starts; matrices count in row-major order.
  int64_t batch_offset(const GemmOperand& x, int64_t index) const {
    int64_t offset = 0;
    for (int i = batch_dims - 1; i >= 0; --i) {
      offset += index % batch_shape[size_t(i)] * x.batch[size_t(i)];
      index /= batch_shape[size_t(i)];
    }
    return offset;
  }
};

/// The same product with as few dimensions as possible: batch dimensions that follow each other in memory merge, and a
/// batch that shares b becomes rows of a.
GemmDesc canonical(GemmDesc desc);

/// `x` as a dense batch of rows x columns, in the order (rows or columns first) that its strides already have.
GemmOperand dense(const GemmDesc& desc, GemmOperand x, int64_t rows, int64_t columns);

/// Whether one matrix of `x` lies as a row-major or column-major library expects it.
bool has_plain_layout(const GemmOperand& x, int64_t rows, int64_t columns);

}  // namespace vitrine
