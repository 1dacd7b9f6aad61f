#pragma once
#include <atomic>
#include <memory>
#include <optional>

#include "apps/classifier/evaluate.h"
#include "apps/classifier/skipped.h"
#include "apps/classifier/spec.h"
#include "apps/train/config.h"
#include "nn/optim/ema.h"
#include "nn/optim/optimizer.h"

namespace vitrine::apps {

/// The checkpoint of the run in folder `out`.
std::string checkpoint_of(const std::string& out);

/// What a run left in its folder to go on from.
struct StoredRun {
  data::Safetensors checkpoint;
  TrainConfig config;
};
/// Nothing if `out` holds no run. @throws IoError if its checkpoint cannot be read
std::optional<StoredRun> stored_run(const std::string& out);

/// A training run in a folder: metrics.jsonl, checkpoint.safetensors, best.safetensors, config.json, curves.svg.
///
/// All that the next step depends on (weights, optimizer, averaged weights, generator, position in the data, running
/// loss) is in checkpoint.safetensors, which is replaced in one rename: a run that was killed at any moment goes on
/// from its last checkpoint and ends with the same bits.
class Trainer {
 public:
  /// Makes the folder if it is not there.
  /// @param known  the content of checkpoint.safetensors to go on from; nullptr to start anew
  /// @throws ValueError, IoError if model, data and flags do not fit, or the folder cannot be written to
  Trainer(const TrainConfig& config, const TrainRun& run, const data::Safetensors* known);

  /// Trains to the end, or until `stop` is set and the step that runs is done (checkpoint written). Returns whether it
  /// reached the end. @throws Error if the loss is not finite
  bool run(const std::atomic<bool>& stop);
  /// The lines of metrics.jsonl, one for each epoch done.
  const std::vector<nlohmann::ordered_json>& metrics() const { return metrics_; }
  /// What was loaded to start from, if this run began with weights.
  const std::optional<models::PretrainedReport>& pretrained() const { return pretrained_; }

 private:
  struct Position {
    int64_t epoch = 0, step = 0;  ///< of the next step
    double loss_sum = 0, seconds = 0;
    double best = -1;  ///< top-1 of best.safetensors
  };
  bool train_epoch(const std::atomic<bool>& stop);
  Tensor step(const data::Batch& batch);
  double learning_rate() const;
  void end_epoch();
  void save_checkpoint() const;
  void save_best() const;
  void restore(const data::Safetensors& known);
  void describe() const;
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
  data::Loader loader_;
  Position at_;
  std::vector<nlohmann::ordered_json> metrics_;
};

}  // namespace vitrine::apps
