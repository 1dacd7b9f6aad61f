#include "apps/train/finite_guard.h"

#include <cmath>
#include <optional>

#include "ops/multi_tensor/multi_tensor.h"

namespace vitrine::apps {
namespace {

/// The first element that is not finite: its number and value.
std::optional<std::pair<int64_t, double>> non_finite(const Tensor& t) {
  if (!t.defined() || !is_floating(t.dtype())) return {};
  const std::vector<double> values = t.to_vector();
  for (size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i])) return std::pair{int64_t(i), values[i]};
  return {};
}

/// "head.weight [10, 64] f32 cpu holds nan"; nothing if all are finite.
std::optional<std::string> non_finite(const nn::NamedTensors& tensors) {
  for (const auto& [name, t] : tensors)
    if (const auto found = non_finite(t)) return format("{} {} holds {}", name, t, found->second);
  return {};
}

}  // namespace

std::string first_non_finite(const nn::NamedTensors& weights, std::span<const data::Batch> parts,
                             const std::function<void()>& repeat) {
  if (const auto found = non_finite(weights)) return "before the step " + *found;
  int64_t before = 0;
  for (const data::Batch& part : parts) {
    for (const Tensor& t : {part.images, part.soft_targets})
      if (const auto found = non_finite(t)) {
        const int64_t i = found->first / (t.numel() / t.size(0));
        return format("{} {} of the batch, of class {}, holds {}", t.same_as(part.images) ? "image" : "target",
                      before + i, part.targets.data<int64_t>()[i], found->second);
      }
    before += part.images.size(0);
  }
  try {
    const AnomalyGuard scan;
    repeat();
  } catch (const AutogradError& e) {
    return e.what();
  }
  for (const auto& [name, t] : weights)
    if (const auto found = non_finite(t.grad())) return format("the gradient of {} sums to {}", name, found->second);
  return "no tensor holds NaN or an infinity when the step is repeated, so the norm of the gradient overflows";
}

void check_finite_weights(const std::string& what, const nn::NamedTensors& weights) {
  std::vector<Tensor> floating;
  for (const auto& [name, t] : weights)
    if (is_floating(t.dtype())) floating.push_back(t.detach());
  if (std::isfinite(ops::global_norm(floating).item())) return;
  if (const auto found = non_finite(weights)) throw Error(format("{}: {}", what, *found));
}

}  // namespace vitrine::apps
