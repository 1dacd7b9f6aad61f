#include "apps/train/step_graph.h"

namespace vitrine::apps {
namespace {

constexpr const char* kNotCaptured = "the step is not captured as a graph: {}\n";

/// Images, targets and soft targets of each; the last may be undefined.
std::vector<Tensor> tensors_of(StepGraph::Parts parts) {
  std::vector<Tensor> list;
  for (const data::Batch& b : parts) list.insert(list.end(), {b.images, b.targets, b.soft_targets});
  return list;
}

std::vector<data::Batch> empty_on(Device device, StepGraph::Parts like) {
  const auto empty_of = [&](const Tensor& x) {
    return x.defined() ? empty(x.shape(), {.dtype = x.dtype(), .device = device}) : Tensor();
  };
  std::vector<data::Batch> list;
  for (const data::Batch& b : like)
    list.push_back(
        {.images = empty_of(b.images), .targets = empty_of(b.targets), .soft_targets = empty_of(b.soft_targets)});
  return list;
}

}  // namespace

StepGraph::StepGraph(const std::string& mode, Device device, Generator& rng, Body body)
    : device_(device), body_(std::move(body)) {
  if (mode == "off" || (mode == "auto" && device.type != DeviceType::cuda)) return;
  try {
    step_.emplace(device, rng, [this]() -> std::vector<Tensor> {
      const StepTensors made = body_(inputs_);
      return {made.loss, made.norm};
    });
    lane_ = find_backend(device.type)->graphs->copy_lane();
  } catch (const CaptureError& e) {
    give_up(e.what());
  }
}

void StepGraph::give_up(const std::string& why) {
  news_ += format(kNotCaptured, why);
  step_.reset();
}

/// Whether the graph is of batches like these. The first ones decide.
bool StepGraph::fits(Parts parts) {
  if (inputs_.empty()) {
    inputs_ = empty_on(device_, parts), staged_ = empty_on(device_, parts);
    lane_->wait_for_work();  // whose memory this may have been
  }
  const std::vector<Tensor> given = tensors_of(parts), own = tensors_of(inputs_);
  if (given.size() != own.size()) return false;
  for (size_t i = 0; i < given.size(); ++i) {
    const Tensor& x = given[i];
    if (x.defined() != own[i].defined()) return false;
    if (x.defined() && !(x.shape() == own[i].shape() && x.dtype() == own[i].dtype() && x.is_contiguous())) return false;
  }
  return true;
}

void StepGraph::send(Parts parts) {
  if (!step_ || !fits(parts)) return;
  const std::vector<Tensor> from = tensors_of(parts);
  std::vector<Tensor> to = tensors_of(staged_);
  for (size_t i = 0; i < from.size(); ++i)
    if (from[i].defined())
      lane_->copy(to[i].raw_mutable_data(), from[i].raw_data(), size_t(from[i].numel() * size_of(from[i].dtype())));
  sent_.assign(parts.begin(), parts.end());
}

/// The batches into inputs_. The next ones may arrive as soon as these have been taken from where they arrived.
void StepGraph::receive(Parts parts) {
  if (sent_.empty() || !sent_[0].images.same_as(parts[0].images)) send(parts);
  lane_->let_work_wait();
  const std::vector<Tensor> from = tensors_of(staged_);
  std::vector<Tensor> to = tensors_of(inputs_);
  for (size_t i = 0; i < to.size(); ++i)
    if (to[i].defined()) to[i].copy_(from[i]);
  lane_->wait_for_work();
}

StepTensors StepGraph::run(Parts parts) {
  if (!step_) return body_(parts);
  if (!fits(parts)) {
    if (!std::exchange(told_smaller_, true))
      news_ += format(kNotCaptured, format("it has {} batches of {} images, not {} of {}", parts.size(),
                                           parts[0].images.size(0), inputs_.size(), inputs_[0].images.size(0)));
    return body_(parts);
  }
  receive(parts);
  try {
    const bool before = step_->recorded();
    const std::vector<Tensor>& made = step_->run();
    if (!before && step_->recorded())
      news_ += format("the step is captured as a graph, which keeps {} MiB\n", step_->graph().memory_bytes() >> 20);
    return {made[0], made[1]};
  } catch (const CaptureError& e) {
    give_up(e.what());
    return body_(parts);
  }
}

}  // namespace vitrine::apps
