#include <algorithm>
#include <cstring>

#include "ops/relpos/relpos_rows.h"
#include "ops/relpos/with_constant.h"

// The members of RelposRows that add up the keys of each bucket.
namespace vitrine::ops {

/// For row ids that rise or fall and are equally far apart, with column ids between them, as those of used_buckets are.
template <class A>
void RelposRows<A>::find_segments() {
  if constexpr (std::is_same_v<A, float> && kLanes >= 8) {
    if (!std::is_sorted(row_ids_.begin(), row_ids_.end()) && !std::is_sorted(row_ids_.rbegin(), row_ids_.rend()))
      return;
    const int32_t least = std::min(row_ids_.front(), row_ids_.back()),
                  most = std::max(row_ids_.front(), row_ids_.back());
    const auto [low_piece, high_piece] = std::minmax_element(
        pieces_.begin(), pieces_.end(), [](const Piece& one, const Piece& other) { return one.id < other.id; });
    const int32_t least_column = low_piece->id, columns = high_piece->id - least_column + 1;
    int32_t apart = INT32_MAX;
    for (int32_t id : row_ids_) apart = id == least ? apart : std::min(apart, id - least);
    if (apart == INT32_MAX) apart = columns;  // there is one row id
    const auto off = [&](int32_t id) { return (id - least) % apart != 0; };
    if (std::any_of(row_ids_.begin(), row_ids_.end(), off) || columns > std::min<int32_t>(kLanes, apart)) return;
    if ((most - least) / apart >= kMostRuns) return;
    const int32_t parts = 2 * width_ <= kLanes && 2 * apart <= kLanes ? 2 : 1;
    const int64_t vectors = padded_width_ / kLanes, lanes = kLanes / parts;
    std::vector<Segments> all(static_cast<size_t>(width_ * vectors));
    for (size_t at = 0; at < all.size(); ++at) {
      Segments& to = all[at];
      to.order.fill(-1);
      for (Choice& within : to.within) within.fill(-1);
      for (auto piece = pieces_.begin() + starts_[at]; piece != pieces_.begin() + starts_[at + 1]; ++piece) {
        if (to.order[size_t(piece->id - least_column)] >= 0) return;  // two pieces of one id
        for (int32_t part = 0; part < parts; ++part) {
          const int32_t first = part * int32_t(lanes);
          to.order[size_t(part * apart + piece->id - least_column)] = first + piece->first;
          for (int k = 0, behind = 1; behind < piece->last - piece->first; ++k, behind *= 2) {
            for (int32_t lane = piece->first; lane + behind < piece->last; ++lane)
              to.within[size_t(k)][size_t(first + lane)] = first + lane + behind;
            steps_ = std::max(steps_, k + 1);
          }
        }
      }
    }
    for (int32_t id : row_ids_) runs_.push_back((id - least) / apart);
    segments_ = std::move(all), first_ = least + least_column, apart_ = apart, parts_ = parts;
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
      const auto put = [&](auto vectors, auto parts) {
        put_segments(i - skip_, x + skip_, sums, steps, vectors, parts);
      };
      constexpr std::integral_constant<int, 1> one;
      constexpr std::integral_constant<int, 2> two;
      padded_width_ > kLanes ? put(two, one) : parts_ == 2 ? put(one, two) : put(one, one);
    });
    A extra = 0;
    for (int64_t j = 0; j < skip_; ++j) extra += x[j];
    if (skip_ > 0) sums[buckets_ - 1] = extra;  // not +=, which would wait for the vectors before it
  }
}

/// Grid rows of one row id are added up first, into totals, where row ids may share a vector. Then each piece of those
/// is. Sums are stored a vector at a time, from the lowest row id up: the zeros behind those of one are where those of
/// the next come, and nothing is read back.
template <class A>
template <class Steps, class Vectors, class Parts>
void RelposRows<A>::put_segments(int64_t cell, const A* x, A* sums, Steps steps, Vectors vectors, Parts parts) const {
  using Part = simd::Vec<A, int(kLanes / Parts::value)>;
  using Choices = std::array<simd::Vec<int32_t>, size_t(Vectors::value)>;  // copies: stores could change the members
  const auto [query_row, query_column] = cells_[size_t(cell)];
  const Segments* how = segments_.data() + query_column * vectors;
  std::array<Choices, 4> within;
  Choices order;
  for (int v = 0; v < vectors; ++v) {
    order[size_t(v)] = simd::load(how[v].order.data());
    for (int k = 0; k < steps; ++k) within[size_t(k)][size_t(v)] = simd::load(how[v].within[size_t(k)].data());
  }
  constexpr int64_t kRun = Vectors::value * kLanes / Parts::value;
  alignas(64) std::array<A, size_t(kMostRuns * kRun)> totals;
  const int64_t first_id = first_, apart = apart_, buckets = buckets_, width = width_, height = height_;
  const int32_t* run_of = runs_.data() + (height - 1 - query_row);
  const auto [one_end, other_end] = std::minmax(run_of[0], run_of[height - 1]);
  const int64_t first = one_end / parts * parts, last = other_end;
  for (int64_t run = first; run <= last; run += parts)
    for (int v = 0; v < vectors; ++v) simd::store(totals.data() + run * kRun + v * kLanes, simd::Vec<A>{});
  const auto read = [](const A* p) {
    Part part;  // lanes behind the grid row are in no piece
    std::memcpy(&part, p, sizeof part);
    return part;
  };
  for (int64_t r = 0; r < height;) {
    const int32_t run = run_of[r];
    std::array<Part, size_t(Vectors::value)> sum;
    for (int v = 0; v < vectors; ++v) sum[size_t(v)] = read(x + v * kLanes);
    for (++r, x += width; r < height && run_of[r] == run; ++r, x += width)
      for (int v = 0; v < vectors; ++v) sum[size_t(v)] += read(x + v * kLanes);
    for (int v = 0; v < vectors; ++v)
      std::memcpy(totals.data() + run * kRun + v * kLanes, &sum[size_t(v)], sizeof(Part));
  }
  for (int64_t run = first; run <= last; run += parts) {
    simd::Vec<A> total{};
    for (int v = 0; v < vectors; ++v) {
      auto sum = simd::load(totals.data() + run * kRun + v * kLanes);
      for (int k = 0; k < steps; ++k) sum += simd::choose(sum, within[size_t(k)][size_t(v)]);
      const auto ordered = simd::choose(sum, order[size_t(v)]);
      total = v == 0 ? ordered : total + ordered;
    }
    const int64_t at = first_id + run * apart;
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
