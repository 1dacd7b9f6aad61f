#include "nn/captured_step.h"

namespace vitrine::nn {

CapturedStep::CapturedStep(Device device, Generator& rng, std::function<std::vector<Tensor>()> body)
    : graph_(device), rng_(rng), body_(std::move(body)), offset_({}, {.dtype = Dtype::i64, .device = device}) {}

/// Draws count from the number on the device; the generator is as it was afterwards.
void CapturedStep::call_body() {
  const Generator before = rng_;
  struct Restore {
    Generator& rng;
    Generator before;
    ~Restore() { rng = before; }
  } const restore{rng_, before};
  offset_.send();
  rng_ = {.seed = before.seed, .base = reinterpret_cast<const uint64_t*>(offset_.device().data<int64_t>())};
  results_ = body_();
  draws_ = rng_.offset;
}

const std::vector<Tensor>& CapturedStep::run() {
  *offset_.host().mutable_data<int64_t>() = int64_t(rng_.offset);
  if (!recorded()) {
    results_.clear();
    if (rehearsals_ < kRehearsals) {
      ++rehearsals_;
      graph_.rehearse([this] { call_body(); });
      rng_.offset += draws_;
      return results_;
    }
    graph_.record([this] { call_body(); });
  }
  graph_.replay();
  rng_.offset += draws_;
  return results_;
}

}  // namespace vitrine::nn
