#pragma once
#include <memory>
#include <optional>

#include "core/memory_pool.h"
#include "core/tensor.h"
#include "data/datasets/dataset.h"
#include "data/sampler.h"
#include "data/transforms/augment.h"
#include "data/transforms/mix.h"

namespace vitrine::data {

struct LoaderOptions {
  int64_t batch_size = 64;
  bool shuffle = false;
  /// Every batch is full: a last one that is not is left out, and an image that cannot be read is replaced by the next
  /// one of the dataset that can. Without it such an image is left out of its batch.
  bool drop_last = false;
  uint64_t seed = 0;
  int workers = 0;  ///< threads that prepare batches ahead; with 0 the caller's thread does it
  Augmentation augment = {};
  Mixing mixing = {};
  /// If given, batches carry the soft targets of binary cross-entropy (binary_targets), smoothed by so much.
  std::optional<double> binary_smoothing = {};
  /// Copies of each image in an epoch; above 1 the order is that of `repeated`, with mixing.group images a process.
  int64_t repeats = 1;
  /// Batches that make one step of training together: an epoch has whole steps (with drop_last), and the processes of
  /// `repeats` are those of a step. Where mixing.group divides batch_size, the epoch is that of batches `accumulate`
  /// times as large, cut into pieces.
  int64_t accumulate = 1;
  std::optional<Preprocessing> preprocessing = {};  ///< of the input, in place of the dataset's
  int64_t prefetch = 2;                             ///< batches prepared ahead of the caller; at least one per worker
  std::shared_ptr<MemoryPool> memory = {};          ///< of batches (pinned_memory); null: ordinary
};

struct Batch {
  Tensor images;   ///< [B, 3, height, width] f32, on the CPU
  Tensor targets;  ///< [B] i64
  /// [B, classes] f32 where images are mixed or may have several classes (each 1 then, or its share of the mixture), or
  /// where binary_smoothing is given; undefined elsewhere. As many classes as mixing.classes, or as the data has.
  Tensor soft_targets;
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
  /// Whether next() would give `count` batches at once, workers having made them.
  bool ready(int64_t count = 1) const;
  /// Number of the batch that next() gives.
  int64_t position() const;
  /// Images a second that its threads can prepare, by the time that they took for the batches so far; 0 before the
  /// first. A caller that takes fewer never waits.
  double rate() const;

 private:
  friend class Loader;
  struct State;
  explicit Epoch(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// Turns a dataset into batches. Every value of every batch is a function of (seed, epoch, index of the image and of
/// its batch) and the options that say what a batch is; the number of workers and their timing change nothing.
class Loader {
 public:
  /// @param dataset must outlive the loader and its epochs
  /// @throws ValueError if an option is out of range, or if the images differ in size and no size is given
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

}  // namespace vitrine::data
