#include <algorithm>

#include "ops/relpos/relpos_rows.h"
#include "ops/relpos/with_constant.h"

// The members of RelposRows for lookups by slices of a table, and for tables with a column for each key.
namespace vitrine::ops {

/// Where a vector of keys meets two grid rows at most, and the ids of a grid row differ by less than its lanes.
/// (AVX-512 reads the whole table from registers: core/lookup.h.)
template <class A>
void RelposRows<A>::find_slices(const int32_t* column_ids) {
  if constexpr (std::is_same_v<A, float> && kLanes == 8) {
    const auto [least, most] = std::minmax_element(column_ids, column_ids + 2 * width_ - 1);
    if (wide() || width_ < kLanes - 1 || skip_ >= kLanes || *most - *least >= kLanes) return;
    slices_.first = *least, slices_.span = *most - *least + 1;
    for (int64_t column = 0; column < width_; ++column)
      for (int64_t c = 0; c < width_ + kLanes; ++c)
        slices_.ids.push_back(column_ids[width_ - 1 - column + c % width_] - slices_.first);
    for (int64_t j = 0; j < keys(); j += kLanes) {
      const int64_t row = j < skip_ ? -1 : (j - skip_) / width_;
      slices_.steps.push_back({int32_t(row), int32_t(std::min(row + 1, height_ - 1)),
                               int32_t(j < skip_ ? width_ - skip_ : (j - skip_) % width_)});
    }
  }
}

template <class A>
void RelposRows<A>::add_slices(int64_t cell, const A* table, A* y) const {
  if constexpr (std::is_same_v<A, float> && kLanes == 8) {
    const int64_t width = width_, count = int64_t(slices_.steps.size());
    const int32_t *row_id = row_ids(cell), *ids = slices_.ids.data() + cells_[size_t(cell)].column * (width + kLanes);
    const A *of_first = table + slices_.first, extra = table[buckets_ - 1];
    const int span = slices_.span;
    const auto* step = slices_.steps.data();
    const auto looked_up = [&](simd::Vec<int32_t> id, int32_t row) {
      return simd::choose(simd::load_first(of_first + row_id[row], span), id);
    };
    const auto sum = [&](const A* before) {
      const auto id = simd::load(ids + step->column);
      const auto upper = step->upper < 0 ? simd::broadcast(extra) : looked_up(id, step->upper);
      const auto is_upper = simd::lanes_below<A>(int(width) - step->column);
      return simd::load(before) + (is_upper ? upper : looked_up(id, step->lower));
    };
    for (int64_t j = 1; j < count; ++j, ++step, y += kLanes) simd::store(y, sum(y));
    const auto last = sum(y);
    const int left = int(keys() - (count - 1) * kLanes);
    simd::store(y, simd::lanes_below<A>(left) ? last : simd::load(y));
  }
}

/// Pieces as local values, which stores of numbers cannot change; the loops copy their bounds for the same reason.
template <class A>
struct RelposRows<A>::Places {
  std::array<int64_t, size_t(kLanes)> row;
  std::array<simd::Lanes<A>, size_t(kLanes)> lanes;
  template <class Count>
  Places(Pieces all, Count count) {
    for (int p = 0; p < count; ++p)
      row[size_t(p)] = all.list[p].row, lanes[size_t(p)] = simd::lanes_of<A>(all.list[p].lanes);
  }
};

template <class A>
void RelposRows<A>::add_columns(int64_t i, const A* table, A* y) const {
  const A* extra = table + (buckets_ - 1) * padded_keys_;
  for (int64_t j = 0; j < skip_; ++j) y[j] += extra[height_ * padded_width_ + j];
  y += skip_;
  if (i < skip_ || !separable()) {
    for (int64_t r = 0; r < height_; ++r) {
      const int32_t* id = i < skip_ ? nullptr : window(i, r);
      for (int64_t c = 0; c < width_; ++c) *y++ += (id ? table + *id++ * padded_keys_ : extra)[r * padded_width_ + c];
    }
    return;
  }
  const int32_t* row_id = row_ids(i - skip_);
  for (int64_t c = 0; c < width_; c += kLanes) {
    const int n = int(std::min(kLanes, width_ - c));
    const Pieces all = pieces(i - skip_, c / kLanes);
    with_constant<kMostPieces>(all.count, [&](auto count) {
      const int64_t height = height_, width = width_, of_bucket = padded_keys_, of_row = padded_width_;
      const Places places(all, count);
      const A* of_c = table + c;
      A* row = y + c;
      auto next = simd::load_first(row, n);
      for (int64_t r = 0; r < height; ++r, row += width, of_c += of_row) {
        // The next row is read before this one is written: a load would wait for the masked store before it.
        auto sum = next;
        if (r + 1 < height) next = simd::load_first(row + width, n);
        const A* from = of_c + row_id[r] * of_bucket;
        for (int p = 0; p < count; ++p)
          sum += simd::keep<A>(simd::load(from + places.row[size_t(p)]), places.lanes[size_t(p)]);
        simd::store_first(row, sum, n);
      }
    });
  }
}

template <class A>
void RelposRows<A>::add_column_sums(int64_t i, const A* x, A* sums) const {
  A* extra = sums + (buckets_ - 1) * padded_keys_;
  for (int64_t j = 0; j < skip_; ++j) extra[height_ * padded_width_ + j] += x[j];
  x += skip_;
  if (i < skip_ || !separable()) {
    for (int64_t r = 0; r < height_; ++r) {
      const int32_t* id = i < skip_ ? nullptr : window(i, r);
      for (int64_t c = 0; c < width_; ++c) (id ? sums + *id++ * padded_keys_ : extra)[r * padded_width_ + c] += *x++;
    }
    return;
  }
  const int32_t* row_id = row_ids(i - skip_);
  for (int64_t c = 0; c < width_; c += kLanes) {
    const int n = int(std::min(kLanes, width_ - c));
    const Pieces all = pieces(i - skip_, c / kLanes);
    with_constant<kMostPieces>(all.count, [&](auto count) {
      const int64_t height = height_, width = width_, of_bucket = padded_keys_, of_row = padded_width_;
      const Places places(all, count);
      const A* row = x + c;
      A* of_c = sums + c;
      for (int64_t r = 0; r < height; ++r, row += width, of_c += of_row) {
        const auto value = simd::load_first(row, n);
        A* to = of_c + row_id[r] * of_bucket;
        for (int p = 0; p < count; ++p) {
          A* place = to + places.row[size_t(p)];
          simd::store(place, simd::load(place) + simd::keep<A>(value, places.lanes[size_t(p)]));
        }
      }
    });
  }
}

template void RelposRows<float>::find_slices(const int32_t*);
template void RelposRows<float>::add_slices(int64_t, const float*, float*) const;
template void RelposRows<float>::add_columns(int64_t, const float*, float*) const;
template void RelposRows<float>::add_column_sums(int64_t, const float*, float*) const;
template void RelposRows<double>::find_slices(const int32_t*);
template void RelposRows<double>::add_slices(int64_t, const double*, double*) const;
template void RelposRows<double>::add_columns(int64_t, const double*, double*) const;
template void RelposRows<double>::add_column_sums(int64_t, const double*, double*) const;

}  // namespace vitrine::ops
