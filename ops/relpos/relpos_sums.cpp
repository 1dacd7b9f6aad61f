#include <algorithm>

#include "ops/relpos/relpos_rows.h"
#include "ops/relpos/with_constant.h"

// The members of RelposRows that add up the keys of each bucket.
namespace vitrine::ops {

/// Sums of neighbouring row ids must not meet in put_segments, which goes through these ids upwards.
template <class A>
void RelposRows<A>::find_segments() {
  if constexpr (std::is_same_v<A, float> && kLanes >= 8) {
    int32_t closest = INT32_MAX;
    for (size_t m = 1; m < row_ids_.size(); ++m) {
      const int32_t apart = row_ids_[m] - row_ids_[m - 1];
      if (row_ids_.front() > row_ids_.back() ? apart > 0 : apart < 0) return;
      if (apart != 0) closest = std::min(closest, std::abs(apart));
    }
    const int64_t vectors = padded_width_ / kLanes;
    std::vector<Segments> all(static_cast<size_t>(width_ * vectors));
    for (int64_t column = 0; column < width_; ++column) {
      const auto first = pieces_.begin() + starts_[size_t(column * vectors)];
      const auto last = pieces_.begin() + starts_[size_t((column + 1) * vectors)];
      const auto [least, most] =
          std::minmax_element(first, last, [](const Piece& x, const Piece& y) { return x.id < y.id; });
      if (most->id - least->id >= std::min<int32_t>(kLanes, closest)) return;
      for (int64_t v = 0; v < vectors; ++v) {
        const size_t at = size_t(column * vectors + v);
        Segments& to = all[at];
        to.first_id = least->id;
        to.order.fill(-1);
        for (Choice& within : to.within) within.fill(-1);
        for (auto piece = pieces_.begin() + starts_[at]; piece != pieces_.begin() + starts_[at + 1]; ++piece) {
          int32_t& place = to.order[size_t(piece->id - to.first_id)];
          if (place >= 0) return;  // two pieces of one id
          place = piece->first;
          for (int k = 0, behind = 1; behind < piece->last - piece->first; ++k, behind *= 2) {
            for (int32_t lane = piece->first; lane + behind < piece->last; ++lane)
              to.within[size_t(k)][size_t(lane)] = lane + behind;
            steps_ = std::max(steps_, k + 1);
          }
        }
      }
    }
    segments_ = std::move(all);
  }
}

namespace {

/// v's first lanes to p, of which there are `room`, or more than lanes. (AMD's processors take long for a masked store
/// of AVX2.)
template <class A>
void store_within(A* p, simd::Vec<A> v, int64_t room) {
  constexpr int64_t kLanes = simd::kLanes<A>;
  if (kLanes == 8 && room >= kLanes) return simd::store(p, v);
  simd::store_first(p, v, int(std::min(kLanes, room)));
}

}  // namespace

template <class A>
void RelposRows<A>::put_sums(int64_t i, const A* x, A* sums) const {
  for (int64_t t = 0; t < buckets_; t += kLanes)  // vectors, as a call of memset costs more than a few buckets
    store_within(sums + t, simd::Vec<A>{}, buckets_ - t);
  if (i < skip_ || segments_.empty()) return add_sums(i, x, sums);
  if constexpr (std::is_same_v<A, float>) {
    with_constant<4>(steps_, [&](auto steps) {
      with_constant<kMostVectors>(int(padded_width_ / kLanes),
                                  [&](auto vectors) { put_segments(i - skip_, x + skip_, sums, steps, vectors); });
    });
    A extra = 0;
    for (int64_t j = 0; j < skip_; ++j) extra += x[j];
    if (skip_ > 0) sums[buckets_ - 1] = extra;  // not +=, which would wait for the vectors before it
  }
}

/// Grid rows with one row id are added up as vectors first; then each piece. Sums are stored a vector at a time, from
/// the lowest row id up: the zeros behind those of one are where those of the next come, and nothing is read back.
template <class A>
template <class Steps, class Vectors>
void RelposRows<A>::put_segments(int64_t cell, const A* x, A* sums, Steps steps, Vectors vectors) const {
  using Choices = std::array<simd::Vec<int32_t>, size_t(kMostVectors)>;  // copies: stores could change the members
  const Segments* how = segments_.data() + cells_[size_t(cell)].column * vectors;
  std::array<Choices, 4> within;
  Choices order;
  for (int v = 0; v < vectors; ++v) {
    order[size_t(v)] = simd::load(how[v].order.data());
    for (int k = 0; k < steps; ++k) within[size_t(k)][size_t(v)] = simd::load(how[v].within[size_t(k)].data());
  }
  const int32_t* row_id = row_ids(cell);
  const bool down = row_id[0] > row_id[height_ - 1];
  const int64_t step = down ? -1 : 1, width = width_, first = how->first_id, buckets = buckets_;
  const int32_t* id = row_id + (down ? height_ - 1 : 0);
  const A* row = x + (down ? height_ - 1 : 0) * width;
  const auto read = [&](const A* from, int v) {
    const int64_t n = width - v * kLanes;
    return kLanes == 8 && n >= kLanes ? simd::load(from + v * kLanes)
                                      : simd::load_first(from + v * kLanes, int(std::min(kLanes, n)));
  };
  for (int64_t left = height_; left > 0;) {
    const int32_t of_run = *id;
    std::array<simd::Vec<A>, size_t(kMostVectors)> all;
    for (int v = 0; v < vectors; ++v) all[size_t(v)] = read(row, v);
    for (--left, id += step, row += step * width; left > 0 && *id == of_run; --left, id += step, row += step * width)
      for (int v = 0; v < vectors; ++v) all[size_t(v)] += read(row, v);
    simd::Vec<A> total{};
    for (int v = 0; v < vectors; ++v) {
      auto sum = all[size_t(v)];
      for (int k = 0; k < steps; ++k) sum += simd::choose(sum, within[size_t(k)][size_t(v)]);
      const auto ordered = simd::choose(sum, order[size_t(v)]);
      total = v == 0 ? ordered : total + ordered;
    }
    const int64_t at = of_run + first;
    store_within(sums + at, total, buckets - at);
  }
}

namespace {

constexpr int kUnrolled = 7;  // pieces of product and cross at ratio 1.9, the published one

/// sums[ids_j] += x_j. Neighbours often share an id, and an addition waits for the one before it to the same place:
/// four parts of the row take turns, each with its own sums, where these are few.
template <class A>
void add_listed_sums(const int32_t* ids, int64_t n, int64_t buckets, const A* x, A* sums) {
  constexpr int64_t kParts = 4, kMost = 128;
  const int64_t part = buckets <= kMost && 2 * buckets <= n ? n / kParts : 0;
  if (part > 0) {
    std::array<A, size_t(kParts * kMost)> each;
    std::fill_n(each.begin(), kParts * buckets, A(0));
    A* const to = each.data();
    for (int64_t j = 0; j < part; ++j)
      for (int64_t p = 0; p < kParts; ++p) to[p * buckets + ids[p * part + j]] += x[p * part + j];
    for (int64_t t = 0; t < buckets; ++t)
      sums[t] += (to[t] + to[buckets + t]) + (to[2 * buckets + t] + to[3 * buckets + t]);
  }
  for (int64_t j = kParts * part; j < n; ++j) sums[ids[j]] += x[j];
}

}  // namespace

template <class A>
void RelposRows<A>::add_sums(int64_t i, const A* x, A* sums) const {
  const int64_t extra = i < skip_ ? keys() : skip_;
  for (int64_t j = 0; j < extra; ++j) sums[buckets_ - 1] += x[j];
  if (i < skip_) return;
  if (separable()) return add_separable_sums(i - skip_, x + skip_, sums);
  x += skip_;
  for (int64_t r = 0; r < height_; r += run_rows_, x += run_rows_ * width_)
    add_listed_sums(window(i, r), run_rows_ * width_, buckets_, x, sums);
}

/// Grid rows with one row id are added up as vectors first; then the columns of each piece go into the buckets, side by
/// side for all those row ids.
template <class A>
void RelposRows<A>::add_separable_sums(int64_t cell, const A* x, A* sums) const {
  constexpr int kRuns = 16;
  const int32_t* row_id = row_ids(cell);
  for (int64_t c = 0; c < width_; c += kLanes) {
    const int n = int(std::min(kLanes, width_ - c));
    const Pieces all = pieces(cell, c / kLanes);
    for (int64_t r = 0; r < height_;) {
      std::array<A, size_t(kRuns * kLanes)> columns;
      std::array<int32_t, kRuns> base;
      int runs = 0;
      for (; runs < kRuns && r < height_; ++runs) {
        const int32_t id = base[size_t(runs)] = row_id[r];
        auto sum = simd::load_first(x + r * width_ + c, n);
        for (++r; r < height_ && row_id[r] == id; ++r) sum += simd::load_first(x + r * width_ + c, n);
        simd::store(columns.data() + runs * kLanes, sum);
      }
      with_constant<kUnrolled>(runs, [&](auto count) {
        for (int p = 0; p < all.count; ++p) {
          const Piece& piece = all.list[p];
          std::array<A, kRuns> total;
          for (int run = 0; run < count; ++run) total[size_t(run)] = columns[size_t(run * kLanes + piece.first)];
          for (int k = piece.first + 1; k < piece.last; ++k)
            for (int run = 0; run < count; ++run) total[size_t(run)] += columns[size_t(run * kLanes + k)];
          for (int run = 0; run < count; ++run) sums[base[size_t(run)] + piece.id] += total[size_t(run)];
        }
      });
    }
  }
}

template void RelposRows<float>::find_segments();
template void RelposRows<float>::put_sums(int64_t, const float*, float*) const;
template void RelposRows<float>::add_sums(int64_t, const float*, float*) const;
template void RelposRows<double>::find_segments();
template void RelposRows<double>::put_sums(int64_t, const double*, double*) const;
template void RelposRows<double>::add_sums(int64_t, const double*, double*) const;

}  // namespace vitrine::ops
