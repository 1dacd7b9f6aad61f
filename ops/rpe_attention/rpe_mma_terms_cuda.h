#pragma once
#include "ops/attention/attention_mma_cuda.h"
#include "ops/relpos/relpos_view.h"

/// The terms of rpe_attention for the tensor-core kernels of attention. A block owns 64 rows of one side, queries (the
/// forward pass and dq) or keys (dk and dv), and sees the other side in tiles of 64. Below "own" and "other" are those
/// sides: the products of own rows with their table are read by id(own, other), those of other rows with theirs by
/// id(other, own), and sums by bucket are over the other side, by id(own, other).
///
/// Ids. place(i) = row(i) (2 width - 1) + column(i) numbers the cells so that id(i, j) = ids[center + place(i) -
/// place(j)] for any method: one byte per offset, [2 height - 1, 2 width - 1] (729 bytes for 14 x 14), one look-up per
/// element, and id(j, i) in the same table. Extra tokens have the place -1, and their pairs the entry behind the table.
/// Cross has two such tables, whose buckets stand behind each other.
///
/// Shared memory, from the dynamic part (RpeMmaTerms lists it; K buckets):
///   ids       bytes as above
///   places    [64] of the tile's rows
///   own,      [64, stride] f32: unscaled products of rows with all buckets. stride = 4 mod 8, so that the 8 rows of
///   other,    an accumulator start 4 banks apart from each other and near buckets of one row do not collide. A bias
///   products  is one row of K, stride 0.
///   tables    [K rounded up to 64, D + 8]: those whose products with every tile are made
///   weights,  [64, 36] words: a tile of z p and of ds as pairs of bf16, own row by own row
///   scores
///   sums      [K, 128] f32: a thread sums half a row of each tile, 32 columns in ascending order, into its own column
///             of this array (bank = lane); the halves meet when the sums are used. No two threads add to one number.
///
/// Barriers. What `start` and `place` write is read after the kernel's barrier before the first use of a tile; what
/// `multiply` writes is read by all warps after its own barrier and written again after the kernel's barrier behind the
/// tile. Weights and scores pass between lanes of one warp: a __syncwarp between their last write and the first read,
/// the kernel's barrier before the next write. A stage is free before each function that takes one, and its last
/// barrier frees it again; the same barrier puts the sums of all threads before their use.
namespace vitrine::ops {
inline namespace VITRINE_WORLD {

/// One call of one kernel. Pointers are null, and places in shared memory -1, where something is not used.
struct RpeMmaTerms {
  static constexpr int kWords = mma::kTile / 2 + 4;  ///< of a row of weights or scores

  RelposView index[2];
  int indices, tokens, skip, width, strip, center = 0;  ///< strip = 2 width - 1
  int buckets = 0, stride = 0;                          ///< buckets of all indices
  bool bias, shared = true;
  int64_t heads;
  float scale;
  const bf16 *own_table = nullptr, *other_table = nullptr;  ///< [Ht, K, D] of the terms of a score; bias [Ht, K]
  const bf16* value_table = nullptr;                        ///< [Ht, K, D]
  float* own_gradient = nullptr;                            ///< [blocks, K, D], bias [blocks, K]: parts of gradients
  float* value_gradient = nullptr;
  struct {
    int ids[2] = {-1, -1}, places = -1, own = -1, other = -1, products = -1, other_table = -1, value_table = -1;
    int weights = -1, scores = -1, weight_sums = -1, score_sums = -1;
  } at = {};

  template <int D, bool kQueries>
  class Lines;
};

/// The 64 rows of a block, of which each warp has 16. What its public functions do is listed at mma::NoTerms.
template <int D, bool kQueries>
class RpeMmaTerms::Lines {
 public:
  using Stage = bf16 (*)[D + 8];
  using Fragments = uint32_t[D / 16][4];

  __device__ Lines(const RpeMmaTerms& call, unsigned char* raw, int64_t bh, int64_t row0)
      : call_(call), raw_(raw), head_(call.shared ? 0 : bh % call.heads), row0_(row0) {
    for (int half = 0; half < 2; ++half) from_[half] = place_of(row0 + lane() / 4 + 8 * half);
  }

  __device__ void start(const Fragments& own, Stage stage) {
    for (int x = 0; x < call_.indices; ++x) fill_ids(x);
    if (call_.bias) {
      if (call_.own_table) copy_bias(call_.own_table, at<float>(call_.at.own));
      if (call_.other_table) copy_bias(call_.other_table, at<float>(call_.at.other));
    } else {
      if (call_.at.other_table >= 0) copy_table(call_.other_table, call_.at.other_table);
      if (call_.at.value_table >= 0) copy_table(call_.value_table, call_.at.value_table);
      if (call_.own_table) multiply_own(own, call_.own_table, at<float>(call_.at.own), stage);
    }
    for (int t = 0; t < call_.buckets; ++t) {
      if (call_.at.weight_sums >= 0) at<float>(call_.at.weight_sums)[t * mma::kBlock + threadIdx.x] = 0;
      if (call_.at.score_sums >= 0) at<float>(call_.at.score_sums)[t * mma::kBlock + threadIdx.x] = 0;
    }
  }
  __device__ void start_products(const Fragments& dout, Stage stage) {
    if (call_.value_table) multiply_own(dout, call_.value_table, at<float>(call_.at.products), stage);
  }

  __device__ void place(int64_t first) {
    if (threadIdx.x < mma::kTile) at<int>(call_.at.places)[threadIdx.x] = place_of(first + threadIdx.x);
  }
  __device__ void multiply(Stage x, Stage dout) {
    const bool scores = call_.at.other_table >= 0, products = call_.at.value_table >= 0;
    if (scores) multiply_other(x, call_.at.other_table, at<float>(call_.at.other));
    if (products) multiply_other(dout, call_.at.value_table, at<float>(call_.at.products));
    if (scores || products) __syncthreads();
  }

  __device__ void add_scores(float (&s)[4], int column) const {
    if (call_.own_table) look_up<true>(s, column, at<float>(call_.at.own), call_.bias ? 0 : call_.stride);
    if (call_.other_table) look_up<false>(s, column, at<float>(call_.at.other), call_.bias ? 0 : call_.stride);
  }
  __device__ void add_products(float (&dp)[4], int column) const {
    if (call_.value_table) look_up<kQueries>(dp, column, at<float>(call_.at.products), call_.stride);
  }

  __device__ void put_weights(const uint32_t (&a)[4], int column) {
    if (call_.at.weights >= 0) put(a, column, at<uint32_t>(call_.at.weights));
  }
  __device__ void put_scores(const uint32_t (&a)[4], int column) {
    if (call_.at.scores >= 0) put(a, column, at<uint32_t>(call_.at.scores));
  }
  __device__ void sum_weights(const float (&shrink)[2]) {
    if (call_.at.weights < 0) return;
    float* sums = at<float>(call_.at.weight_sums);
    const int holder = lane() % 8 * 4;  // of the factors of rows lane % 8 and that + 8
    const float low = __shfl_sync(cuda::kAllLanes, shrink[0], holder);
    const float high = __shfl_sync(cuda::kAllLanes, shrink[1], holder), factor = lane() % 16 < 8 ? low : high;
    if (factor != 1)
      for (int t = 0; t < call_.buckets; ++t) sums[t * mma::kBlock + threadIdx.x] *= factor;
    sum(at<uint32_t>(call_.at.weights), sums);
  }
  __device__ void sum_scores() {
    if (call_.at.scores >= 0) sum(at<uint32_t>(call_.at.scores), at<float>(call_.at.score_sums));
  }

  __device__ void add_values(float (&out)[D / 8][4], Stage stage) {
    if (call_.value_table) add_products_of(at<float>(call_.at.weight_sums), call_.value_table, out, stage);
  }
  __device__ void add_tables(float (&to)[D / 8][4], Stage stage) {
    if (call_.own_table && !call_.bias) add_products_of(at<float>(call_.at.score_sums), call_.own_table, to, stage);
  }
  __device__ void store_gradients(const Grid<const bf16>& own, const bf16* rows, const Grid<const bf16>& dout,
                                  const bf16* dout_rows, Stage stage) {
    if (call_.own_gradient && call_.bias) store_bias(at<float>(call_.at.score_sums), call_.own_gradient);
    if (call_.own_gradient && !call_.bias)
      store_gradient(at<float>(call_.at.score_sums), rows, own.row, call_.scale, call_.own_gradient, stage);
    if (call_.value_gradient)
      store_gradient(at<float>(call_.at.weight_sums), dout_rows, dout.row, 1, call_.value_gradient, stage);
  }

 private:
  __device__ static int lane() { return int(threadIdx.x % cuda::kWarp); }
  __device__ static int warp() { return int(threadIdx.x / cuda::kWarp); }
  template <class T>
  __device__ T* at(int offset) const {
    return reinterpret_cast<T*>(raw_ + offset);
  }
  /// -1 for an extra token, and behind the end.
  __device__ int place_of(int64_t i) const {
    const int cell = int(i) - call_.skip;
    if (cell < 0 || i >= call_.tokens) return -1;
    return cell / call_.width * call_.strip + cell % call_.width;
  }
  /// The id of (i, j) from their places.
  __device__ int id(const uint8_t* ids, int i, int j) const {
    return ids[(i | j) < 0 ? 2 * call_.center + 1 : call_.center + i - j];
  }

  __device__ void fill_ids(int x) {
    const RelposView& index = call_.index[x];
    uint8_t* ids = at<uint8_t>(call_.at.ids[x]);
    for (int r = warp(); r < 2 * int(index.height) - 1; r += mma::kWarps)
      for (int c = lane(); c < call_.strip; c += cuda::kWarp)
        ids[r * call_.strip + c] =
            uint8_t(index.offsets ? index.offsets[r * call_.strip + c] : index.rows[r] + index.columns[c]);
    if (threadIdx.x == 0) ids[2 * call_.center + 1] = uint8_t(index.buckets - 1);
  }
  /// A head's biases, such that the scale gives them back.
  __device__ void copy_bias(const bf16* table, float* to) const {
    for (int t = threadIdx.x; t < call_.buckets; t += mma::kBlock)
      to[t] = float(table[head_ * call_.buckets + t]) / call_.scale;
  }
  __device__ const bf16* of_head(const bf16* table) const { return table + head_ * call_.buckets * D; }
  __device__ void copy_table(const bf16* table, int offset) {
    for (int t0 = 0; t0 < call_.buckets; t0 += mma::kTile)
      mma::copy_tile<D>(at<bf16[D + 8]>(offset) + t0, of_head(table), D, t0, call_.buckets);
    cuda::cp_async_commit();
  }
  /// Copies rows [row0, row0 + 64) of x to a stage that is free, and shows them to all.
  __device__ void fill_stage(Stage stage, const bf16* x, int64_t stride, int64_t row0, int64_t rows) {
    mma::copy_tile<D>(stage, x, stride, row0, rows);
    cuda::cp_async_commit();
    cuda::cp_async_wait<0>();
    __syncthreads();
  }

  /// Columns t0, ..., t0 + 63 of the warp's rows of `to`: a w^T, where w holds those buckets' vectors.
  __device__ void multiply_buckets(const Fragments& a, Stage w, int t0, float* to) {
    float* row = to + (warp() * 16 + lane() / 4) * call_.stride + t0 + lane() % 4 * 2;
    for (int n = 0; n < min(mma::kTile, call_.buckets - t0); n += 8) {
      float c[4];
      mma::multiply_rows<D>(c, a, w, n);
#pragma unroll
      for (int e = 0; e < 4; ++e)
        if (t0 + n + lane() % 4 * 2 + e % 2 < call_.buckets) row[e / 2 * 8 * call_.stride + n + e % 2] = c[e];
    }
  }
  __device__ void multiply_own(const Fragments& a, const bf16* table, float* to, Stage stage) {
    for (int t0 = 0; t0 < call_.buckets; t0 += mma::kTile) {
      fill_stage(stage, of_head(table), D, t0, call_.buckets);
      multiply_buckets(a, stage, t0, to);
      __syncthreads();
    }
  }
  __device__ void multiply_other(Stage x, int table, float* to) {
    uint32_t a[D / 16][4];
    mma::load_fragments<D>(a, x, 16 * warp());
    for (int t0 = 0; t0 < call_.buckets; t0 += mma::kTile) multiply_buckets(a, at<bf16[D + 8]>(table) + t0, t0, to);
  }

  /// s += table[own row][id(own, other)] if kOwn, else table[other row][id(other, own)].
  template <bool kOwn>
  __device__ __forceinline__ void look_up(float (&s)[4], int column, const float* table, int stride) const {
    column += lane() % 4 * 2;
    const auto to = cuda::load<2>(at<int>(call_.at.places) + column);
    const float* rows[2];
#pragma unroll
    for (int e = 0; e < 2; ++e) rows[e] = table + (kOwn ? warp() * 16 + lane() / 4 + 8 * e : column + e) * stride;
    for (int x = 0; x < call_.indices; ++x) {
      const uint8_t* ids = at<uint8_t>(call_.at.ids[x]);
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const int own = from_[c / 2], other = to[c % 2];
        s[c] += kOwn ? rows[c / 2][id(ids, own, other)] : rows[c % 2][id(ids, other, own)];
      }
      rows[0] += call_.index[x].buckets, rows[1] += call_.index[x].buckets;
    }
  }

  __device__ void put(const uint32_t (&a)[4], int column, uint32_t* tile) {
    uint32_t* row = tile + (warp() * 16 + lane() / 4) * kWords + column / 2 + lane() % 4;
    row[0] = a[0], row[8 * kWords] = a[1], row[4] = a[2], row[8 * kWords + 4] = a[3];
  }
  /// sums[id(row, column)] += the tile's weight there, for the half row of this thread; one addition per run of columns
  /// with the same id.
  __device__ void sum(const uint32_t* tile, float* sums) {
    __syncwarp();
    const int row = warp() * 16 + lane() % 16, first = lane() / 16 * 16;  // words
    const uint32_t* words = tile + row * kWords + first;
    const int own = place_of(row0_ + lane() % 16);
    const int* others = at<int>(call_.at.places) + 2 * first;
    sums += threadIdx.x;
    for (int x = 0; x < call_.indices; ++x) {
      const uint8_t* ids = at<uint8_t>(call_.at.ids[x]);
      int open = id(ids, own, others[0]);
      float run = 0;
      for (int w = 0; w < 16; ++w) {
        const uint32_t pair = words[w];
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const int next = id(ids, own, others[2 * w + e]);
          if (next != open) {
            sums[open * mma::kBlock] += run;
            open = next, run = 0;
          }
          run += __uint_as_float(e ? pair & 0xFFFF0000u : pair << 16);
        }
      }
      sums[open * mma::kBlock] += run;
      sums += call_.index[x].buckets * mma::kBlock;
    }
  }
  /// The sum of bucket t for one of the block's rows, from its two halves.
  __device__ float total(const float* sums, int t, int row) const {
    if (t >= call_.buckets) return 0;
    const float* half = sums + t * mma::kBlock + row / 16 * cuda::kWarp + row % 16;
    return half[0] + half[16];
  }

  /// to += sums table, for the warp's rows.
  __device__ void add_products_of(const float* sums, const bf16* table, float (&to)[D / 8][4], Stage stage) {
    for (int t0 = 0; t0 < call_.buckets; t0 += mma::kTile) {
      fill_stage(stage, of_head(table), D, t0, call_.buckets);
      for (int n = 0; n < min(mma::kTile, call_.buckets - t0); n += 16) {
        uint32_t a[4];
#pragma unroll
        for (int r = 0; r < 4; ++r) {
          const int row = warp() * 16 + lane() / 4 + r % 2 * 8, t = t0 + n + lane() % 4 * 2 + r / 2 * 8;
          a[r] = cuda::pack_bf16(total(sums, t, row), total(sums, t + 1, row));
        }
        mma::add_rows<D>(to, a, stage, n);
      }
      __syncthreads();
    }
  }
  /// The block's part of a gradient: factor sums^T x for its 64 rows of x, in the block's own [K, D] of `to`. A warp
  /// has 16 buckets at a time.
  __device__ void store_gradient(const float* sums, const bf16* x, int64_t stride, float factor, float* to,
                                 Stage stage) {
    fill_stage(stage, x, stride, row0_ - 16 * warp(), call_.tokens);
    to += blockIdx.x * int64_t(call_.buckets) * D;
    for (int t0 = 16 * warp(); t0 < call_.buckets; t0 += 16 * mma::kWarps) {
      float part[D / 8][4] = {};
      for (int n = 0; n < mma::kRows; n += 16) {
        uint32_t a[4];
#pragma unroll
        for (int r = 0; r < 4; ++r) {
          const int t = t0 + lane() / 4 + r % 2 * 8, row = n + lane() % 4 * 2 + r / 2 * 8;
          a[r] = cuda::pack_bf16(total(sums, t, row), total(sums, t, row + 1));
        }
        mma::add_rows<D>(part, a, stage, n);
      }
#pragma unroll
      for (int n = 0; n < D / 8; ++n) {
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          const int t = t0 + lane() / 4 + c / 2 * 8;
          if (t < call_.buckets) to[t * D + 8 * n + lane() % 4 * 2 + c % 2] = part[n][c] * factor;
        }
      }
    }
    __syncthreads();
  }
  /// The same of a bias: sums over the rows, a thread per bucket, each beginning in another bank.
  __device__ void store_bias(const float* sums, float* to) {
    to += blockIdx.x * int64_t(call_.buckets);
    for (int t = threadIdx.x; t < call_.buckets; t += mma::kBlock) {
      float total = 0;
      for (int n = 0; n < mma::kBlock; ++n) total += sums[t * mma::kBlock + (t + n) % mma::kBlock];
      to[t] = total;
    }
  }

  const RpeMmaTerms& call_;
  unsigned char* const raw_;
  const int64_t head_, row0_;
  int from_[2];
};

}  // namespace VITRINE_WORLD
}  // namespace vitrine::ops
