#pragma once
#include "core/tensor.h"

/// Reading and adding by integer ids. Ids are i64, i32 or u8, from 0 to n - 1, where n is the size of the indexed dim.
///
/// An id outside of this range is a ValueError on the CPU. On other devices the ids are not read back: there such an id
/// reads NaN (0 in an integer tensor) and adds nothing, forward and backward.
///
/// Gradients that meet in one place are added in the order of the ids, in accumulate_t: the same bits in every run. A
/// list of the ids sorted by destination is made for it, in O(m log m) on GPUs and O(m + n) on the CPU for m ids.
namespace vitrine::ops {

/// y[.., j, ..] = x[.., index[.., j, ..], ..] along `dim`.  dx = scatter_add(0, dim, index, dy)
///
/// @param x      any dtype and strides
/// @param index  x's shape except along `dim`
/// @return       shape of index, dtype of x
/// @throws ShapeError if shapes disagree or dim is out of range, DtypeError if index is not integer, DeviceError
Tensor gather(const Tensor& x, int64_t dim, const Tensor& index);

/// y = x, then y[.., index[.., j, ..], ..] += src[.., j, ..] along `dim`.  dx = dy, dsrc = gather(dy, dim, index)
///
/// @param x      floating, any strides
/// @param index  x's shape except along `dim`
/// @param src    shape of index, dtype of x
/// @throws as gather
Tensor scatter_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src);

/// y.select(dim, j) = x.select(dim, index[j]).  dx.select(dim, i) = sum of dy.select(dim, j) over all j with
/// index[j] = i
///
/// @param x      any dtype and strides
/// @param index  [m]
/// @return       x's shape with m in place of x.size(dim)
/// @throws as gather
Tensor index_select(const Tensor& x, int64_t dim, const Tensor& index);

/// The rows of a table: y[..., :] = weight[ids[...], :].
///
/// @param weight  [entries, channels]
/// @param ids     any shape
/// @return        [*ids, channels]
/// @throws as gather
Tensor embedding(const Tensor& weight, const Tensor& ids);

}  // namespace vitrine::ops
