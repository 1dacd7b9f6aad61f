#include <algorithm>
#include <functional>
#include <memory>

#include "apps/probe/probe_op.h"
#include "core/autograd.h"
#include "models/classifier.h"
#include "nn/attention.h"

namespace vitrine::apps {
namespace {

/// A module and how it is called with its one input.
struct Built {
  std::unique_ptr<nn::Module> module;
  std::function<Tensor(const Tensor&)> call;
};

void check_settings(const ProbeRequest& probe, const std::vector<std::string>& known) {
  for (const auto& [key, value] : probe.attributes)
    check<UsageError>(std::find(known.begin(), known.end(), key) != known.end(),
                      "probe: {} has no setting '{}'; did you mean {}?", probe.name, key, nearest(key, known));
}

Built build_attention(const ProbeRequest& probe, nn::Scope scope) {
  check_settings(probe, {"dim", "heads", "grid", "skip", "rpe"});
  const Attributes& a = probe.attributes;
  const std::vector<int64_t> grid = a.integers("grid");
  check<UsageError>(grid.size() == 2 && grid[0] > 0 && grid[1] > 0, "probe: grid must be [height, width], got {}",
                    AttributeValue(grid));
  const nn::RpeChoice choice = nn::parse_rpe_choice(a.text("rpe", "none"));
  auto layer = std::make_unique<nn::Attention>(std::move(scope),
                                               nn::AttentionConfig{.dim = a.integer("dim"),
                                                                   .heads = a.integer("heads"),
                                                                   .grid = {grid[0], grid[1], a.integer("skip", 0)},
                                                                   .rpe = choice.rpe,
                                                                   .rival = choice.rival});
  auto* raw = layer.get();
  return {std::move(layer), [raw](const Tensor& x) { return (*raw)(x); }};
}

Built build_model(const ProbeRequest& probe, nn::Scope scope) {
  check_settings(probe, {"num_classes", "image_size", "rpe", "ape"});
  const Attributes& a = probe.attributes;
  models::ClassifierOptions options;
  if (a.find("num_classes")) options.num_classes = a.integer("num_classes");
  if (a.find("image_size")) options.image_size = a.integer("image_size");
  if (a.find("rpe")) options.rpe = a.text("rpe");
  if (a.find("ape")) options.ape = models::parse_ape(a.text("ape"));
  auto model = models::make_classifier(std::move(scope), probe.name, options);
  auto* raw = model.get();
  return {std::move(model), [raw](const Tensor& x) { return raw->logits(x); }};
}

Built build(const ProbeRequest& probe, nn::Scope scope) {
  if (probe.target == "model") return build_model(probe, std::move(scope));
  check<UsageError>(probe.name == "deit_attention", "probe: unknown module '{}'; deit_attention can be probed",
                    probe.name);
  return build_attention(probe, std::move(scope));
}

/// Parameters by name from the file; drawn where it has none and the request allows that.
void load_parameters(nn::Module& module, const ProbeRequest& probe, const data::Safetensors& in) {
  const nn::LoadReport report = module.load_state_dict(in.tensors, nn::Strict::no);
  check<IoError>(report.mismatched.empty(), "{}: {}", probe.file,
                 report.mismatched.empty() ? "" : report.mismatched.front());
  check<IoError>(probe.init || report.missing.empty(),
                 "{}: there is no tensor '{}', a parameter of {}; \"init\": true draws those that are missing",
                 probe.file, report.missing.empty() ? "" : report.missing.front(), probe.name);
}

}  // namespace

data::Safetensors probe_module(const ProbeRequest& probe, const data::Safetensors& in) {
  const Device device = usable_device(probe.device);
  const std::string input = probe.target == "model" ? "image" : "x";
  for (const std::string& name : probe.inputs.value_or(std::vector<std::string>()))
    check<UsageError>(name == input, "probe: {} has no input '{}'; it takes {}", probe.name, name, input);
  const Tensor* given = in.find(input);
  check<IoError>(given != nullptr, "{}: there is no tensor '{}', the input of {}", probe.file, input, probe.name);
  const bool backward = has_cotangents(in);
  return probing([&] {
    check_floating("probe", input.c_str(), *given);
    const Dtype dtype = given->dtype() == Dtype::f64 ? Dtype::f64 : Dtype::f32;
    const Built built = build(probe, {.device = device, .dtype = dtype, .rng = &default_generator()});
    load_parameters(*built.module, probe, in);
    built.module->eval();
    Tensor x = given->to(device).detach();
    if (backward) x = x.clone().set_requires_grad();
    const RecordingGuard guard(backward);
    const Tensor y = built.call(x);
    data::Safetensors out{.tensors = {{"out", y.detach().to(Device::cpu())}}};
    if (!backward) return out;
    y.backward({.gradient = gather_cotangents(probe, in, {"out"}, {y})[0]});
    const auto report = [&](const std::string& name, const Tensor& t) {
      const Tensor gradient = t.grad().defined() ? t.grad() : zeros_like(t.detach());
      out.tensors.emplace_back("grad." + name, gradient.detach().to(Device::cpu()));
    };
    report(input, x);
    for (const auto& [name, p] : built.module->parameters()) report(name, p);
    return out;
  });
}

}  // namespace vitrine::apps
