#pragma once
#include <functional>
#include <vector>

#include "core/captured_graph.h"
#include "core/random.h"
#include "core/upload.h"

namespace vitrine::nn {

/// A training step (forward, backward, clipping, update) that becomes a captured graph (core/captured_graph.h): the
/// first steps are rehearsals, the next one is recorded, and from then on every step is a replay. All of them give the
/// bits that `body` gives without it.
///
///     nn::CapturedStep step(device, rng, [&] {
///       model.zero_grad();                                   // the gradients of the step before are in the way
///       const Tensor loss = ops::cross_entropy(model.logits(images), targets);
///       loss.backward();
///       optimizer->update();                                 // its learning rate is set outside, before each step
///       return std::vector{loss.detach()};
///     });
///     for (...) images.copy_(...), targets.copy_(...), optimizer->set_lr(lr), print(step.run()[0].item());
class CapturedStep {
 public:
  static constexpr int kRehearsals = 3;

  /// @param rng   what `body` draws from, through modules or itself: each step draws where the last one ended
  /// @param body  one step. It reads its inputs from tensors that stay, keeps no other tensor than it returns and the
  ///              gradients, and does the same in each step. What it returns may be looked at after each step
  /// @throws CaptureError if the device cannot record work
  CapturedStep(Device device, Generator& rng, std::function<std::vector<Tensor>()> body);

  /// Queues a step. @return what `body` returned, with the values of this step until the next one
  /// @throws CaptureError from the step that is recorded, if it cannot be: nothing of it was done, not even draws
  const std::vector<Tensor>& run();
  bool recorded() const { return graph_.recorded(); }
  const CapturedGraph& graph() const { return graph_; }

 private:
  void call_body();

  CapturedGraph graph_;
  Generator& rng_;
  std::function<std::vector<Tensor>()> body_;
  Upload offset_;  ///< of the generator at the beginning of the step
  std::vector<Tensor> results_;
  uint64_t draws_ = 0;  ///< in a step
  int rehearsals_ = 0;
};

}  // namespace vitrine::nn
