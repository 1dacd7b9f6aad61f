// Attention whose logits carry a learned scalar for each relative position, grouped into buckets: iRPE's bias mode,
// product method (Wu et al. 2021). It learns to let every token look at its right-hand neighbour, which only positions
// can tell.
#include <algorithm>
#include <cstdio>

#include "ops/all.h"

using namespace vitrine;

int main() {
  constexpr int64_t kHeads = 2, kHeight = 6, kWidth = 6, kTokens = kHeight * kWidth, kDim = 8;

  // Which bucket each (query, key) pair falls into: a table over offsets, no [tokens, tokens] matrix.
  const ops::RelposIndex& index =
      ops::irpe_index(ops::IrpeMethod::product, ops::IrpeFunction::of_ratio(1.9), kHeight, kWidth, 0);
  std::printf("%lld pairs share %lld buckets\n", (long long)(kTokens * kTokens), (long long)index.buckets);

  // Queries and keys are noise of little size, so content says nothing; values are what is looked at.
  Generator rng{.seed = 3};
  const Shape shape = {1, kHeads, kTokens, kDim};
  const Tensor q = random_normal(shape, rng, 0, 0.1), k = random_normal(shape, rng, 0, 0.1),
               v = random_normal(shape, rng);

  // The goal: the value of the neighbour to the right, in all columns but the last.
  const auto inner = [&](const Tensor& t) {  // [1, H, L, D] -> [H, height, width - 1, D]
    return t.reshape({kHeads, kHeight, kWidth, kDim}).narrow(2, 0, kWidth - 1);
  };
  const Tensor goal = v.reshape({kHeads, kHeight, kWidth, kDim}).narrow(2, 1, kWidth - 1);

  Tensor table = zeros({kHeads, index.buckets}).set_requires_grad();  // all there is to learn
  double first = 0, last = 0;
  for (int step = 0; step <= 200; ++step) {
    const Tensor bias = ops::table_gather(table, index);  // [H, L, L]
    const Tensor out = ops::attention(q, k, v, {.bias = bias});
    const Tensor loss = ops::mean(ops::square(inner(out) - goal));
    last = loss.item();
    if (step == 0) first = last;
    if (step % 50 == 0) std::printf("step %3d  loss %.4f\n", step, last);
    loss.backward();  // through attention into the table: a sum over all pairs of a bucket
    const NoGrad no_grad;
    table.add_(table.grad() * -10.0);
    table.set_grad({});
  }

  // The offset is query minus key: right-hand neighbours have row offset 0 and column offset -1.
  const int64_t bound = ops::IrpeFunction::of_ratio(1.9).bound(), side = 2 * bound + 1;
  const int64_t expected = bound * side + bound - 1;
  const std::vector<double> learned = table.select(0, 0).to_vector();
  const int64_t largest = std::max_element(learned.begin(), learned.end()) - learned.begin();
  std::printf("largest entry: bucket %lld, that of the right-hand neighbour: %lld\n", (long long)largest,
              (long long)expected);
  return largest == expected && last < 0.2 * first ? 0 : 1;
}
