#pragma once
#include <cstdint>
#include <vector>

namespace vitrine::data {

/// The order of `n` images in an epoch: a permutation (Fisher-Yates) that depends on n, seed and epoch alone.
std::vector<int64_t> shuffled(int64_t n, uint64_t seed, int64_t epoch);

/// One place of an epoch: which image, and which of its copies.
struct Sample {
  int64_t image = 0, copy = 0;
};

/// The order of an epoch with repeated augmentation (Hoffer et al. 2020; deit 3.7), as a run of `ranks` processes takes
/// it: their batches of `batch` images one behind the other, again and again.
///
/// The permutation is that of PyTorch's randperm from a generator of seed `epoch`, of no other seed. Each image follows
/// `repeats` times in a row; the whole, lengthened from its start to a multiple of `ranks`, is dealt to the ranks in
/// turn; of its share each takes (n / 256 * 256) / ranks images, and of these whole batches. So an epoch is as long as
/// one without repetition, and sees about 1 / repeats of the images.
std::vector<Sample> repeated(int64_t n, int64_t epoch, int64_t repeats, int64_t ranks, int64_t batch);

/// The steps of that epoch, of ranks * batch images each.
constexpr int64_t repeated_batches(int64_t n, int64_t ranks, int64_t batch) {
  constexpr int64_t kRound = 256;
  return n / kRound * kRound / ranks / batch;
}

/// torch.randperm(n) of a generator seeded with `seed`: Mersenne twister, and swaps from the front.
std::vector<int64_t> torch_permutation(int64_t n, uint32_t seed);

}  // namespace vitrine::data
