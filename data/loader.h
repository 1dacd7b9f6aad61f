#pragma once
#include <memory>
#include <optional>

#include "core/tensor.h"
#include "data/datasets/dataset.h"

namespace vitrine::data {

/// Random changes of each image in each epoch.
struct Augmentation {
  bool flip = false;     ///< mirror left and right with probability 1/2
  int64_t pad_crop = 0;  ///< add this many black pixels on every side, then cut out the old size at a random place
};

struct LoaderOptions {
  int64_t batch_size = 64;
  bool shuffle = false;
  bool drop_last = false;  ///< leave out a last batch that is not full
  uint64_t seed = 0;
  int workers = 0;  ///< threads that prepare batches ahead; with 0 the caller's thread does it
  Augmentation augment = {};
  int64_t prefetch = 2;  ///< batches prepared ahead of the caller; at least one per worker
};

struct Batch {
  Tensor images;   ///< [B, 3, height, width] f32, on the CPU
  Tensor targets;  ///< [B] i64
};

/// The batches of one epoch, in order.
class Epoch {
 public:
  Epoch(Epoch&&) noexcept;
  Epoch& operator=(Epoch&&) noexcept;
  /// Ends the workers, at any point of the epoch.
  ~Epoch();

  /// The next batch; nothing after the last. What a worker throws is thrown here, when its batch is due, and again by
  /// every later call.
  std::optional<Batch> next();
  /// Number of the batch that next() gives.
  int64_t position() const;

 private:
  friend class Loader;
  struct State;
  explicit Epoch(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// Turns a dataset into batches. Every value of every batch is a function of (seed, epoch, index of the image) and the
/// options that say what a batch is; the number of workers and their timing change nothing.
class Loader {
 public:
  /// @param dataset must outlive the loader and its epochs
  /// @throws ValueError if an option is out of range
  Loader(const Dataset& dataset, const LoaderOptions& options);

  const LoaderOptions& options() const { return options_; }
  /// Batches in an epoch.
  int64_t batches() const;
  /// Starts epoch `epoch` at batch `first`, as if the batches before had been taken: a training run that stopped in an
  /// epoch goes on with the same bits. @throws ValueError unless 0 <= epoch and 0 <= first <= batches()
  Epoch epoch(int64_t epoch, int64_t first = 0) const;

 private:
  const Dataset* dataset_;
  LoaderOptions options_;
  PixelTable table_;
};

/// The order of `n` images in an epoch: a permutation (Fisher-Yates) that depends on n, seed and epoch alone.
std::vector<int64_t> shuffled(int64_t n, uint64_t seed, int64_t epoch);

}  // namespace vitrine::data
