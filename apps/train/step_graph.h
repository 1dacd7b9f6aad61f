#pragma once
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/backend.h"
#include "data/loader.h"
#include "nn/captured_step.h"

namespace vitrine::apps {

/// What a step leaves on the device.
struct StepTensors {
  Tensor loss, norm;  ///< f32 []; norm: of the whole gradient
};

/// Runs training steps: on a device that can record its work as one captured graph each (nn/captured_step.h), for which
/// the batch of the next step travels while the last one runs; else, and where that fails, op by op. Both ways give the
/// same bits. Why a step is not captured is told once.
class StepGraph {
 public:
  using Parts = std::span<const data::Batch>;
  /// One step from the batches whose gradients it sums, in host memory or on the device. It reads nothing back.
  using Body = std::function<StepTensors(Parts parts)>;

  /// @param mode  "on", "off", or "auto": on for cuda
  StepGraph(const std::string& mode, Device device, Generator& rng, Body body);
  StepGraph(const StepGraph&) = delete;
  StepGraph& operator=(const StepGraph&) = delete;

  /// Queues a step on batches in host memory, which must stay until a result has been read.
  StepTensors run(Parts parts);
  /// Starts sending what the next step needs, beside the step that runs; to be followed by run() with it.
  void send(Parts parts);
  /// Whether steps are captured, or will be once they are rehearsed.
  bool on() const { return step_.has_value(); }
  /// Steps before they are as fast as they will be.
  int64_t first_steps() const { return on() ? nn::CapturedStep::kRehearsals + 1 : 1; }
  /// What there is to tell the user, a line each; forgets it.
  std::string take_news() { return std::exchange(news_, {}); }

 private:
  void give_up(const std::string& why);
  bool fits(Parts parts);
  void receive(Parts parts);

  Device device_;
  Body body_;
  std::optional<nn::CapturedStep> step_;
  std::unique_ptr<CopyLane> lane_;
  std::vector<data::Batch> inputs_;  ///< what the graph reads
  std::vector<data::Batch> staged_;  ///< where the next ones arrive, on the device too
  std::vector<data::Batch> sent_;    ///< those that were sent there
  bool told_smaller_ = false;
  std::string news_;
};

}  // namespace vitrine::apps
