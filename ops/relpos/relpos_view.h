#pragma once
#include "ops/relpos/relpos.h"

namespace vitrine::ops {

/// A RelposIndex as plain pointers, for kernels: passed by value.
struct RelposView {
  const int32_t *rows = nullptr, *columns = nullptr, *offsets = nullptr;
  const int32_t* listed = nullptr;
  const uint8_t* listed_bytes = nullptr;
  int64_t height = 0, width = 0, skip = 0, keys = 0, buckets = 0;

  explicit RelposView(const RelposIndex& index)
      : height(index.height), width(index.width), skip(index.skip), keys(index.keys), buckets(index.buckets) {
    if (index.row_ids.defined()) rows = index.row_ids.data<int32_t>(), columns = index.column_ids.data<int32_t>();
    if (index.offset_ids.defined()) offsets = index.offset_ids.data<int32_t>();
    if (!index.listed_ids.defined()) return;
    if (index.listed_ids.dtype() == Dtype::u8) {
      listed_bytes = index.listed_ids.data<uint8_t>();
    } else {
      listed = index.listed_ids.data<int32_t>();
    }
  }

  /// The id of (query i, key j).
  VITRINE_HD int64_t id(int64_t i, int64_t j) const {
    if (listed_bytes) return listed_bytes[i * keys + j];
    if (listed) return listed[i * keys + j];
    if (i < skip || j < skip) return buckets - 1;
    const int64_t query_row = (i - skip) / width, key_row = (j - skip) / width;
    const int64_t dr = query_row - key_row + height - 1,
                  dc = (i - query_row * width) - (j - key_row * width) + width - 1;
    return offsets ? offsets[dr * (2 * width - 1) + dc] : rows[dr] + columns[dc];
  }

  /// The ids of query i and every key, without a division per key.
  void row(int64_t i, int32_t* out) const {
    if (listed_bytes || listed || i < skip) {
      for (int64_t j = 0; j < keys; ++j) out[j] = int32_t(id(i, j));
      return;
    }
    for (int64_t j = 0; j < skip; ++j) *out++ = int32_t(buckets - 1);
    const int64_t query_row = (i - skip) / width, query_column = (i - skip) % width;
    for (int64_t key_row = 0; key_row < height; ++key_row, out += width) {
      const int64_t dr = query_row - key_row + height - 1;
      const int32_t* at = (offsets ? offsets + dr * (2 * width - 1) : columns) + query_column + width - 1;
      const int32_t base = offsets ? 0 : rows[dr];
      for (int64_t c = 0; c < width; ++c) out[c] = base + at[-c];
    }
  }
};

}  // namespace vitrine::ops
