#include "apps/bench/model_work.h"

#include "apps/bench/timing.h"
#include "core/backend.h"
#include "ops/cross_entropy/cross_entropy.h"

namespace vitrine::apps {
namespace {

std::unique_ptr<models::DeiT> make_model(const ModelSetup& setup, nn::Scope scope) {
  auto any = models::make_classifier(std::move(scope), setup.model, {.rpe = setup.rpe});
  auto* deit = dynamic_cast<models::DeiT*>(any.get());
  check<ValueError>(deit, "bench: {} is no DeiT", setup.model);
  any.release();
  return std::unique_ptr<models::DeiT>(deit);
}

/// Tables of relative positions begin at 0, vectors at 0 or 1.
void add_noise(const nn::Module& model, Generator& rng) {
  const NoGrad no_grad;
  for (auto& [name, t] : model.parameters()) {
    const bool table = name.find("lookup_table_") != std::string::npos;
    if (!table && t.dim() > 1) continue;
    Tensor value = t;
    value.add_(random_normal(t.shape(), rng, 0, table ? 0.2 : 0.02, {.dtype = t.dtype()}).to(t.device()));
  }
}

}  // namespace

ModelWork::ModelWork(const ModelSetup& s, Dtype p, Device on, uint64_t seed) : setup(s), precision(p), device(on) {
  Generator rng{seed, 0};
  model_ = make_model(setup, {.device = device, .rng = &rng});
  add_noise(*model_, rng);
  model_->train(setup.training);
  Generator data{seed + 1, 0};  // its own, so that models of one size with and without RPE see the same images
  const int64_t side = model_->image_size();
  images_ = random_normal({setup.batch, model_->config.channels, side, side}, data).to(device);
  targets_ = random_integers({setup.batch}, data, 0, model_->num_classes()).to(device);
  input_ = images_.to(precision);
  if (setup.training) optimizer_ = nn::make_adamw(nn::decay_groups(model_->parameters(), kDecay));
}

Tensor ModelWork::loss(const Tensor& logits) const {
  const Tensor exact = logits.dtype() == Dtype::f64 ? logits : logits.to(Dtype::f32);
  return ops::cross_entropy(exact, targets_.to(logits.device()));
}

PhaseTimes ModelWork::run() {
  if (!setup.graph) return run_ops();
  if (!graph_)
    graph_ = CapturedGraph::capture(device, [this] {
      model_->zero_grad();  // those of the call before would be in the way
      run_ops();
    });
  const double start = now_ms();
  graph_->replay();
  return {.forward = now_ms() - start};
}

PhaseTimes ModelWork::run_ops() {
  PhaseTimes times;
  const double start = now_ms();
  if (!setup.training) {
    const NoGrad no_grad;
    model_->logits(input_);
    times.forward = now_ms() - start;
    return times;
  }
  {
    const Tensor result = loss(model_->logits(input_));
    times.forward = now_ms() - start;
    model_->zero_grad();
    result.backward();
  }
  times.backward = now_ms() - start - times.forward;
  optimizer_->step(kRate);
  times.optimizer = now_ms() - start - times.forward - times.backward;
  return times;
}

nn::NamedTensors ModelWork::outputs(std::optional<Dtype> exact) {
  std::unique_ptr<models::DeiT> copy;
  if (exact) {
    Generator rng;
    copy = make_model(setup, {.dtype = *exact, .rng = &rng});
    copy->load_state_dict(model_->state_dict());
    copy->train(setup.training);
  }
  models::DeiT& model = copy ? *copy : *model_;
  const Tensor input = exact ? images_.to(Device::cpu()).to(*exact) : input_;
  if (!setup.training) {
    const NoGrad no_grad;
    return {{"logits", model.logits(input)}};
  }
  const Tensor logits = model.logits(input);
  model.zero_grad();
  loss(logits).backward();
  nn::NamedTensors list{{"logits", logits.detach()}};
  for (const auto& [name, t] : model.parameters()) list.emplace_back("grad." + name, t.grad());
  model.zero_grad();
  return list;
}

double ModelWork::macs() const {
  double sum = 0;
  for (const models::LayerCost& layer : model_->costs()) sum += double(layer.macs_matmul);
  return sum * double(setup.batch) * (setup.training ? 3 : 1);
}

std::string ModelWork::label() const {
  return format("b{}", setup.batch) + (has_rpe() ? ", " + to_string(rpe()) : "") + (setup.graph ? ", graph" : "");
}

std::vector<std::string> ModelWork::no_decay() const {
  std::vector<std::string> names;
  const std::vector<nn::ParameterGroup> groups = nn::decay_groups(model_->parameters(), kDecay);
  for (const auto& [name, t] : groups[0].parameters) names.push_back(name);
  return names;
}

}  // namespace vitrine::apps
