#pragma once
#include <memory>
#include <optional>
#include <string>

#include "core/captured_graph.h"
#include "models/deit/deit.h"
#include "nn/optim/optimizer.h"

namespace vitrine::apps {

/// What a row of `bench train` or `bench infer` runs.
struct ModelSetup {
  std::string model;
  int64_t batch = 1;
  std::optional<std::string> rpe = {};  ///< empty: the model's own
  bool training = false;
  bool graph = false;  ///< a call is the replay of a captured graph, all of it counted as forward
};

/// Milliseconds of the parts of one call; those that an inference lacks are 0.
struct PhaseTimes {
  double forward = 0, backward = 0, optimizer = 0;
  double total() const { return forward + backward + optimizer; }
};

/// A model with random weights and one random batch, ready to run in one precision. Parameters are f32; in bf16 they
/// are cast where they are used, as `train --precision bf16` does.
class ModelWork {
 public:
  static constexpr double kRate = 1e-5;  ///< so small that hundreds of steps on one batch change no time
  static constexpr double kDecay = 0.05;

  /// Weights are the model's initial ones with noise on what would begin at 0 or 1, so that a comparison sees every
  /// parameter act. Equal seeds give equal weights and images, whatever the precision.
  ModelWork(const ModelSetup& setup, Dtype precision, Device device, uint64_t seed);

  /// Training: forward, cross-entropy, backward, AdamW in place. Else the logits, unrecorded.
  PhaseTimes run();
  /// Bytes that the captured graph keeps; 0 without one.
  size_t graph_bytes() const { return graph_ ? graph_->memory_bytes() : 0; }
  /// "logits", and in training "grad.NAME" of every parameter. Computed in `precision`, or if `exact` by a copy of the
  /// model in that dtype on the CPU.
  nn::NamedTensors outputs(std::optional<Dtype> exact = {});

  const models::DeiT& model() const { return *model_; }
  nn::RpeChoice rpe() const { return {model_->config.rpe, model_->config.rival}; }
  bool has_rpe() const { return to_string(rpe()) != "none"; }
  /// Multiply-adds of matrix products in one call; a backward pass counts twice its forward.
  double macs() const;
  /// "b32", "b32, rpe-1.9-product-ctx-1-k", "b32, graph"
  std::string label() const;
  /// Names of the parameters that AdamW does not decay.
  std::vector<std::string> no_decay() const;

  const ModelSetup setup;
  const Dtype precision;
  const Device device;
  const Tensor& images() const { return images_; }    ///< f32 [B, C, S, S]
  const Tensor& targets() const { return targets_; }  ///< i64 [B]

 private:
  Tensor loss(const Tensor& logits) const;
  PhaseTimes run_ops();

  std::unique_ptr<models::DeiT> model_;
  std::unique_ptr<nn::Optimizer> optimizer_;
  Tensor images_, targets_, input_;  // input_: images_ in `precision`
  std::optional<CapturedGraph> graph_;
};

}  // namespace vitrine::apps
