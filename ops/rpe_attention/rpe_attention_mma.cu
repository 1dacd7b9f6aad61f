#include "core/cuda/limits.h"
#include "ops/attention/attention_mma_backward_cuda.h"
#include "ops/attention/attention_mma_forward_cuda.h"
#include "ops/rpe_attention/rpe_attention_cuda.h"
#include "ops/rpe_attention/rpe_mma_terms_cuda.h"

namespace vitrine::ops {
namespace {

/// The terms of one kernel's call, and its dynamic shared memory.
struct Plan {
  /// `own` and `other` are the tables of k and q where a block owns queries, of q and k where it owns keys.
  Plan(const RpeAttentionInputs& in, const Tensor& own, const Tensor& other)
      : terms{.index = {RelposView(in.indices.front()), RelposView(in.indices.back())},
              .indices = int(in.indices.size()),
              .tokens = int(in.attention.q.size(2)),
              .skip = int(in.indices.front().skip),
              .width = int(in.indices.front().width),
              .strip = 2 * int(in.indices.front().width) - 1,
              .bias = in.bias,
              .heads = in.attention.q.size(1),
              .scale = float(in.attention.scale)},
        d(in.attention.q.size(3)) {
    terms.center = (int(in.indices.front().height) - 1) * terms.strip + terms.width - 1;
    for (const RelposIndex& index : in.indices) terms.buckets += int(index.buckets);
    terms.stride = terms.buckets + (12 - terms.buckets % 8) % 8;
    for (int x = 0; x < terms.indices; ++x) terms.at.ids[x] = take(2 * terms.center + 2);
    terms.at.places = take(mma::kTile * 4);
    terms.own_table = table(own), terms.other_table = table(other), terms.value_table = table(in.v);
    if (terms.own_table) terms.at.own = take_products();
    if (terms.other_table) terms.at.other = take_products();
    if (terms.other_table && !in.bias) terms.at.other_table = take_table();
  }

  const bf16* table(const Tensor& t) {
    if (!t.defined()) return nullptr;
    terms.shared = t.size(0) == 1;
    return t.data<bf16>();
  }
  int take(int64_t bytes) {
    const int64_t begin = shared;
    shared += (bytes + 15) / 16 * 16;
    return int(begin);
  }
  int take_products() { return take(terms.bias ? terms.buckets * 4 : mma::kRows * terms.stride * 4); }
  int take_table() { return take((terms.buckets + mma::kTile - 1) / mma::kTile * mma::kTile * (d + 8) * 2); }
  void sum_weights() {
    terms.at.weights = take(mma::kRows * RpeMmaTerms::kWords * 4);
    terms.at.weight_sums = take(terms.buckets * mma::kBlock * 4);
  }
  void sum_scores() {
    terms.at.scores = take(mma::kRows * RpeMmaTerms::kWords * 4);
    terms.at.score_sums = take(terms.buckets * mma::kBlock * 4);
  }
  /// Together with the tiles.
  bool fits() const { return shared + 4 * mma::kTile * (d + 8) * 2 + 2 * mma::kTile * 4 <= cuda::shared_limit(); }

  RpeMmaTerms terms;
  int64_t d, shared = 0;
};

Plan forward_plan(const RpeAttentionInputs& in) {
  Plan plan(in, in.k, in.q);
  if (in.v.defined()) plan.sum_weights();
  return plan;
}
Plan dq_plan(const RpeAttentionInputs& in, const RpeTableGradients& tables) {
  Plan plan(in, in.k, in.q);
  if (in.v.defined()) plan.terms.at.products = plan.take_products();
  if (tables.v.defined()) plan.sum_weights();
  if (in.k.defined() && (!in.bias || tables.k.defined())) plan.sum_scores();
  return plan;
}
Plan dkv_plan(const RpeAttentionInputs& in, const RpeTableGradients& tables) {
  Plan plan(in, in.q, in.k);
  if (in.v.defined()) plan.terms.at.products = plan.take_products(), plan.terms.at.value_table = plan.take_table();
  if (in.q.defined() && (!in.bias || tables.q.defined())) plan.sum_scores();
  return plan;
}

bool fits(const RpeAttentionInputs& in) {
  for (const RelposIndex& index : in.indices)
    if (index.buckets > 256 || index.listed_ids.defined()) return false;
  for (const Tensor& table : {in.q, in.k, in.v})
    if (table.defined() && !cuda::aligned_to(table.raw_data(), 16)) return false;
  return mma::fits(in.attention) && !(in.bias && in.attention.scale == 0);  // biases are divided by the scale
}

/// to[bh, e] = sum over a head's blocks of parts[bh, block, e], in ascending order; a thread per element.
__global__ void sum_parts_kernel(const float* parts, float* to, int64_t count, int64_t size, int64_t blocks) {
  const int64_t e = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (e >= count) return;
  parts += e / size * blocks * size + e % size;
  float sum = 0;
  for (int64_t block = 0; block < blocks; ++block) sum += parts[block * size];
  to[e] = sum;
}

/// The parts of a table's gradient, one for each block of a kernel.
class Parts {
 public:
  explicit Parts(Tensor& to) : to_(to) {}
  /// Where the blocks write; null if the gradient is not wanted.
  float* begin(int64_t blocks) {
    if (!to_.defined()) return nullptr;
    Shape shape = to_.shape();
    shape[1] *= blocks_ = blocks;
    parts_ = empty(shape, to_.options());
    return parts_.mutable_data<float>();
  }
  void add() {
    if (!to_.defined()) return;
    const int64_t count = to_.numel(), size = count / (to_.size(0) * to_.size(1));
    cuda::launch("rpe_sum_parts", sum_parts_kernel,
                 {.grid = (count + mma::kBlock - 1) / mma::kBlock, .block = mma::kBlock}, parts_.data<float>(),
                 to_.mutable_data<float>(), count, size, blocks_);
  }

 private:
  Tensor &to_, parts_;
  int64_t blocks_ = 0;
};

}  // namespace

inline namespace VITRINE_WORLD {

bool launch_rpe_mma_forward(const RpeAttentionInputs& in, Tensor& out, Tensor& lse) {
  if (!fits(in)) return false;
  const Plan plan = forward_plan(in);
  if (!plan.fits()) return false;
  mma::launch_forward(in.attention, plan.terms, plan.shared, out, lse);
  return true;
}

bool launch_rpe_mma_backward(const RpeAttentionInputs& in, const Tensor& lse, const Tensor& dout,
                             AttentionGradients& to, RpeTableGradients& tables) {
  if (!fits(in) || !mma::fits(dout)) return false;
  Plan rows = dq_plan(in, tables), columns = dkv_plan(in, tables);
  if (!rows.fits() || !columns.fits()) return false;
  const int64_t blocks = mma::blocks_of(in.attention.q.size(2));
  Parts dwq(tables.q), dwk(tables.k), dwv(tables.v);
  if (to.dq.defined() || tables.k.defined() || tables.v.defined()) {
    rows.terms.own_gradient = dwk.begin(blocks), rows.terms.value_gradient = dwv.begin(blocks);
    mma::launch_dq(in.attention, rows.terms, rows.shared, lse, dout, to);
    dwk.add();
    dwv.add();
  }
  if (to.dk.defined() || to.dv.defined() || tables.q.defined()) {
    columns.terms.own_gradient = dwq.begin(blocks);
    mma::launch_dkv(in.attention, columns.terms, columns.shared, lse, dout, to);
    dwq.add();
  }
  return true;
}

}  // namespace VITRINE_WORLD
}  // namespace vitrine::ops
