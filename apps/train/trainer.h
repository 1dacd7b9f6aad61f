#pragma once
#include <atomic>
#include <memory>
#include <optional>
#include <span>

#include "apps/classifier/evaluate.h"
#include "apps/classifier/skipped.h"
#include "apps/classifier/spec.h"
#include "apps/train/config.h"
#include "apps/train/objective.h"
#include "apps/train/run_log.h"
#include "apps/train/step_graph.h"
#include "nn/optim/ema.h"
#include "nn/optim/optimizer.h"

namespace vitrine::apps {

/// The checkpoint of the run in folder `out`.
std::string checkpoint_of(const std::string& out);

/// What a run left in its folder to go on from.
struct StoredRun {
  std::string file;
  data::Safetensors checkpoint;
  TrainConfig config;
};
/// @throws IoError if `file` cannot be read, or is no checkpoint of `train`
StoredRun read_run(const std::string& file);
/// Nothing if `out` holds no run. @throws as read_run
std::optional<StoredRun> stored_run(const std::string& out);

/// A training run in a folder: checkpoint.safetensors, best.safetensors, the settings as config.json and config.toml,
/// and the files of RunLog. With averaged weights also best_ema.safetensors, the average at its best.
///
/// All that the next step depends on (weights, optimizer, averaged weights, generator, position in the data, running
/// loss) is in checkpoint.safetensors, which is replaced in one rename: a run that was killed at any moment goes on
/// from its last checkpoint and ends with the same bits.
class Trainer {
 public:
  /// Makes the folder if it is not there.
  /// @param known  what to go on from, the run in this folder or another; nullptr to start anew
  /// @throws ValueError, IoError if model, data and flags do not fit, or the folder cannot be written to
  Trainer(const TrainConfig& config, const TrainRun& run, const StoredRun* known);

  /// Trains to the end, or until `stop` is set and the step, or batch of test images, that runs is done (checkpoint
  /// written). Returns whether it reached the end.
  /// @throws Error naming the first tensor that is not finite, if the loss or the gradient is not
  bool run(const std::atomic<bool>& stop);
  /// The lines of metrics.jsonl, one for each epoch done.
  const std::vector<nlohmann::ordered_json>& metrics() const { return log_.lines(); }
  /// Takes some steps and evaluates some images, and tells what the run would take: time by epoch and in all, memory,
  /// disk, and whether the loader keeps up. The model has been trained a little afterwards.
  nlohmann::ordered_json estimate();
  /// What was loaded to start from, if this run began with weights.
  const std::optional<models::PretrainedReport>& pretrained() const { return pretrained_; }

 private:
  struct Position {
    int64_t epoch = 0, step = 0;  ///< of the next step
    double loss_sum = 0, seconds = 0;
    double waited = 0;                ///< seconds of these, for the loader
    double best = -1, best_ema = -1;  ///< Accuracy::score of best.safetensors, best_ema.safetensors
  };
  bool train_epoch(const std::atomic<bool>& stop);
  int64_t steps() const { return loader_.batches() / config_.accum; }  ///< of an epoch
  /// The next config_.accum batches; none after the last.
  std::vector<data::Batch> next_step(data::Epoch& batches) const;
  [[noreturn]] void diverged(const std::string& what) const;
  /// One step from the mean gradient of batches of equal size; returns the loss. `meanwhile` is called while the device
  /// may still be at work.
  double step(std::span<const data::Batch> parts, const std::function<void()>& meanwhile = {});
  StepTensors step_on_device(std::span<const data::Batch> parts);
  Tensor forward_backward(std::span<const data::Batch> parts);
  Accuracy test(const std::function<bool(int64_t)>& seen = {});
  double learning_rate() const;
  /// Tests and logs; false if `stop` was set meanwhile and the test is still to be made.
  bool end_epoch(const std::atomic<bool>& stop);
  void begin() const;
  data::Safetensors state() const;
  void save_checkpoint() const;
  void keep_epoch() const;
  void save_best(const Accuracy& raw, const std::optional<Accuracy>& averaged);
  void restore(const StoredRun& run);
  void describe() const;
  nlohmann::ordered_json parameter_groups() const;
  std::string loader_text() const;
  std::string path(const char* name) const { return run_.out + "/" + name; }

  TrainConfig config_;
  TrainRun run_;
  Generator rng_;
  std::unique_ptr<data::Dataset> train_, test_;
  SkippedImages skipped_, skipped_test_;
  ClassifierSpec spec_;
  std::unique_ptr<models::Classifier> model_;
  std::optional<models::PretrainedReport> pretrained_;
  std::unique_ptr<nn::Optimizer> optimizer_;
  std::unique_ptr<nn::Ema> ema_;
  std::vector<Tensor> parameters_;
  ops::MultiTensorCache norm_cache_;
  StepGraph graph_;
  data::Loader loader_;
  std::optional<Objective> objective_;
  double loader_rate_ = 0;  ///< images a second, of the epoch that runs, or ran last
  Position at_;
  RunLog log_;
};

}  // namespace vitrine::apps
