#include "ops/relpos/relpos_rows.h"

namespace vitrine::ops {

RelposRows::RelposRows(const RelposIndex& index, bool mirrored)
    : height_(index.height), width_(index.width), skip_(index.skip), buckets_(index.buckets) {
  const int64_t h = height_, w = width_, strip = 2 * h - 1, offsets = 2 * w - 1;
  // m = key row - query row + h - 1, n = key column - query column + w - 1: places in the index's tables, which hold
  // query minus key, unless mirrored.
  const auto row_place = [&](int64_t m) { return mirrored ? m : strip - 1 - m; };
  const auto column_place = [&](int64_t n) { return mirrored ? n : offsets - 1 - n; };
  strips_.resize(size_t(w * strip * w));
  const bool separable = !index.offset_ids.defined();
  const int32_t* both = separable ? nullptr : index.offset_ids.data<int32_t>();
  if (separable) {
    const int32_t *rows = index.row_ids.data<int32_t>(), *columns = index.column_ids.data<int32_t>();
    for (int64_t m = 0; m < strip; ++m) row_ids_.push_back(rows[row_place(m)]);
    for (int64_t qc = 0; qc < w; ++qc)
      for (int64_t kc = 0; kc < w; ++kc) column_ids_.push_back(columns[column_place(kc - qc + w - 1)]);
  }
  int32_t* to = strips_.data();
  for (int64_t qc = 0; qc < w; ++qc) {
    for (int64_t m = 0; m < strip; ++m) {
      for (int64_t kc = 0; kc < w; ++kc) {
        *to++ = separable ? row_ids_[size_t(m)] + column_ids_[size_t(qc * w + kc)]
                          : both[row_place(m) * offsets + column_place(kc - qc + w - 1)];
      }
    }
  }
}

}  // namespace vitrine::ops
