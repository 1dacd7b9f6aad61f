#include "ops/matmul/gemm_desc.h"

#include <utility>

namespace vitrine {
namespace {

/// Gives dimensions of length 1 the strides of a dense matrix, so that equal products get equal descriptions.
void normalise(GemmOperand& x, int64_t rows, int64_t columns) {
  if (columns == 1 && x.row > 0) x.column = 1;
  if (rows == 1) x.row = x.column == 1 ? columns : 1;
}

void merge_batch(GemmDesc& d) {
  int out = 0;
  for (int i = 0; i < d.batch_dims; ++i) {
    const int64_t size = d.batch_shape[i];
    if (size == 1) continue;
    const bool merges = out > 0 && [&] {
      for (const GemmOperand* x : {&d.a, &d.b, &d.c})
        if (x->batch[out - 1] != x->batch[i] * size) return false;
      return true;
    }();
    if (!merges) d.batch_shape[out++] = 1;
    d.batch_shape[out - 1] *= size;
    for (GemmOperand* x : {&d.a, &d.b, &d.c}) x->batch[out - 1] = x->batch[i];
  }
  d.batch_dims = out;
  for (int i = out; i < GemmOperand::kMaxBatchDims; ++i)
    d.batch_shape[i] = d.a.batch[i] = d.b.batch[i] = d.c.batch[i] = 0;
}

}  // namespace

GemmDesc canonical(GemmDesc d) {
  merge_batch(d);
  normalise(d.a, d.m, d.k);
  normalise(d.b, d.k, d.n);
  normalise(d.c, d.m, d.n);
  if (d.batch_dims == 1 && d.b.batch[0] == 0 && d.a.batch[0] == d.m * d.a.row && d.c.batch[0] == d.m * d.c.row) {
    d.m *= d.batch_shape[0];
    d.batch_dims = 0;
    d.batch_shape[0] = d.a.batch[0] = d.c.batch[0] = 0;
  }
  if (!d.bias) d.bias_type = Dtype::f32;
  return d;
}

GemmOperand dense(const GemmDesc& d, GemmOperand x, int64_t rows, int64_t columns) {
  const bool transposed = x.row == 1 && x.column != 1;
  x.row = transposed ? 1 : columns;
  x.column = transposed ? rows : 1;
  int64_t stride = rows * columns;
  for (int i = d.batch_dims - 1; i >= 0; --i) {
    x.batch[i] = stride;
    stride *= d.batch_shape[i];
  }
  return x;
}

bool has_plain_layout(const GemmOperand& x, int64_t rows, int64_t columns) {
  return (x.column == 1 && x.row >= columns) || (x.row == 1 && x.column >= rows);
}

}  // namespace vitrine
