#include "data/sampler.h"

#include <numeric>
#include <random>

#include "data/streams.h"

namespace vitrine::data {
namespace {

std::vector<int64_t> counted(int64_t n) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  return order;
}

}  // namespace

std::vector<int64_t> shuffled(int64_t n, uint64_t seed, int64_t epoch) {
  std::vector<int64_t> order = counted(n);
  const RandomDraw draw = draw_of(Stream::shuffle, seed, uint64_t(epoch));
  for (int64_t i = n - 1; i > 0; --i) std::swap(order[size_t(i)], order[size_t(below(draw.bits(i), i + 1))]);
  return order;
}

std::vector<int64_t> torch_permutation(int64_t n, uint32_t seed) {
  std::vector<int64_t> order = counted(n);
  std::mt19937 random(seed);
  for (int64_t i = 0; i + 1 < n; ++i) std::swap(order[size_t(i)], order[size_t(i + random() % uint64_t(n - i))]);
  return order;
}

std::vector<Sample> repeated(int64_t n, int64_t epoch, int64_t repeats, int64_t ranks, int64_t batch) {
  const std::vector<int64_t> order = torch_permutation(n, uint32_t(epoch));
  const int64_t batches = repeated_batches(n, ranks, batch);
  std::vector<Sample> samples;
  for (int64_t b = 0; b < batches; ++b)
    for (int64_t rank = 0; rank < ranks; ++rank)
      for (int64_t i = 0; i < batch; ++i) {
        const int64_t place = (rank + ranks * (b * batch + i)) % (n * repeats);
        samples.push_back({order[size_t(place / repeats)], place % repeats});
      }
  return samples;
}

}  // namespace vitrine::data
