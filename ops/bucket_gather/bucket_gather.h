#pragma once
#include "ops/relpos/relpos.h"

/// The two primitives of relative position encodings with buckets: each is the other's gradient. With them contextual
/// iRPE on q and k is a product and a gather, on v a sum and a product, and no [Lq, Lk, D] tensor is made (irpe,
/// section 4). An index over a grid (irpe_index, swin_index) is read from its small tables; no [Lq, Lk] ids are made.
/// Given ids make an index_from_ids in every call, with its errors: for many calls make one and pass that.
namespace vitrine::ops {

/// y[.., i, j] = x[.., i, id(i, j)]
///
/// @param x      [.., Lq, K], floating, any strides
/// @param index  Lq queries, Lk keys, K buckets, on x's device
/// @return       [.., Lq, Lk], dtype of x
/// @throws ShapeError if x does not have Lq rows of K buckets; DtypeError, DeviceError
Tensor bucket_gather(const Tensor& x, const RelposIndex& index);
/// The same with ids u8 or i32 [Lq, Lk].
Tensor bucket_gather(const Tensor& x, const Tensor& ids);

/// y[.., i, t] = sum over j with id(i, j) = t of a[.., i, j], added in ascending j in accumulate_t: equal bits in every
/// run.
///
/// @param a      [.., Lq, Lk], floating, any strides
/// @param index  Lq queries, Lk keys, on a's device
/// @return       [.., Lq, K], dtype of a; buckets that no key falls into are 0
/// @throws ShapeError if a is not [.., Lq, Lk]; DtypeError, DeviceError
Tensor bucket_sum(const Tensor& a, const RelposIndex& index);
/// The same with ids u8 or i32 [Lq, Lk] and their number of buckets.
Tensor bucket_sum(const Tensor& a, const Tensor& ids, int64_t buckets);

/// y[h, i, j] = table[h, id(i, j)]: a learned scalar per head and bucket (Swin; iRPE's bias mode). Its gradient is a
/// bucket_sum, then a sum over queries, in a fixed order.
///
/// @param table  [H, K], any strides, so Swin's [K, H] transposed will do
/// @return       [H, Lq, Lk]
/// @throws as bucket_gather
Tensor table_gather(const Tensor& table, const RelposIndex& index);
/// The same with ids u8 or i32 [Lq, Lk].
Tensor table_gather(const Tensor& table, const Tensor& ids);

}  // namespace vitrine::ops
