#include <algorithm>
#include <functional>
#include <memory>

#include "apps/probe/probe_op.h"
#include "core/autograd.h"
#include "core/text.h"
#include "models/classifier.h"
#include "models/detr/encoder.h"
#include "nn/attention.h"

namespace vitrine::apps {
namespace {

/// A module and how it is called with the inputs of its target, in their order.
struct Built {
  std::unique_ptr<nn::Module> module;
  std::function<Tensor(const std::vector<Tensor>&)> call;
};

/// The inputs of a module or model: the first is floating and tells the dtype.
struct Input {
  std::string name;
  bool needed = true;  ///< else undefined where the file has none
};

std::vector<Input> inputs_of(const ProbeRequest& probe) {
  if (probe.target == "model") return {{"image"}};
  if (probe.name == "detr_encoder_layer") return {{"x"}, {"pos"}, {"key_padding_mask", false}};
  return {{"x"}};
}

void check_settings(const ProbeRequest& probe, const std::vector<std::string>& known) {
  for (const auto& [key, value] : probe.attributes)
    check<UsageError>(std::find(known.begin(), known.end(), key) != known.end(),
                      "probe: {} has no setting '{}'; did you mean {}?", probe.name, key, nearest(key, known));
}

/// The tokens that "grid" and "skip" say.
nn::TokenGrid grid_of(const Attributes& a) {
  const std::vector<int64_t> grid = a.integers("grid");
  check<UsageError>(grid.size() == 2 && grid[0] > 0 && grid[1] > 0, "probe: grid must be [height, width], got {}",
                    AttributeValue(grid));
  return {grid[0], grid[1], a.integer("skip", 0)};
}

Built build_attention(const ProbeRequest& probe, nn::Scope scope) {
  check_settings(probe, {"dim", "heads", "grid", "skip", "rpe"});
  const Attributes& a = probe.attributes;
  const nn::RpeChoice choice = nn::parse_rpe_choice(a.text("rpe", "none"));
  auto layer = std::make_unique<nn::Attention>(std::move(scope), nn::AttentionConfig{.dim = a.integer("dim"),
                                                                                     .heads = a.integer("heads"),
                                                                                     .grid = grid_of(a),
                                                                                     .rpe = choice.rpe,
                                                                                     .rival = choice.rival});
  auto* raw = layer.get();
  return {std::move(layer), [raw](const std::vector<Tensor>& in) { return (*raw)(in[0]); }};
}

Built build_encoder_layer(const ProbeRequest& probe, nn::Scope scope) {
  check_settings(probe, {"dim", "heads", "ffn", "grid", "rpe"});
  const Attributes& a = probe.attributes;
  const nn::TokenGrid grid = grid_of(a);
  auto layer = std::make_unique<models::DetrEncoderLayer>(
      std::move(scope), models::DetrEncoderConfig{.dim = a.integer("dim"),
                                                  .heads = a.integer("heads"),
                                                  .ffn = a.integer("ffn"),
                                                  .rpe = nn::parse_rpe_but_rivals(probe.name, a.text("rpe", "none"))});
  auto* raw = layer.get();
  return {std::move(layer), [raw, grid](const std::vector<Tensor>& in) { return (*raw)(in[0], in[1], grid, in[2]); }};
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
  return {std::move(model), [raw](const std::vector<Tensor>& in) { return raw->logits(in[0]); }};
}

Built build(const ProbeRequest& probe, nn::Scope scope) {
  if (probe.target == "model") return build_model(probe, std::move(scope));
  if (probe.name == "detr_encoder_layer") return build_encoder_layer(probe, std::move(scope));
  check<UsageError>(probe.name == "deit_attention",
                    "probe: unknown module '{}'; deit_attention and detr_encoder_layer can be probed", probe.name);
  return build_attention(probe, std::move(scope));
}

bool holds(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// The inputs that the file and the request give, on the device.
std::vector<Tensor> read_inputs(const ProbeRequest& probe, const data::Safetensors& in,
                                const std::vector<Input>& inputs, Device device) {
  std::vector<std::string> names;
  for (const Input& input : inputs) names.push_back(input.name);
  for (const std::string& name : probe.inputs.value_or(names))
    check<UsageError>(holds(names, name), "probe: {} has no input '{}'; it takes {}", probe.name, name, join(names));
  std::vector<Tensor> list;
  for (const auto& [name, needed] : inputs) {
    const bool asked = probe.inputs && holds(*probe.inputs, name);
    const Tensor* given = needed || asked || !probe.inputs ? in.find(name) : nullptr;
    check<IoError>(given || !(needed || asked), "{}: there is no tensor '{}', an input of {}", probe.file, name,
                   probe.name);
    list.push_back(given ? given->to(device).detach() : Tensor());
  }
  return list;
}

/// Parameters by name from the file; drawn where it has none and the request allows that. What else is there, beside
/// the inputs and cotangents, is an error: a misspelt parameter would be drawn.
void load_parameters(nn::Module& module, const std::vector<Input>& inputs, const ProbeRequest& probe,
                     const data::Safetensors& in) {
  std::vector<std::string> known;
  for (const Input& input : inputs) known.push_back(input.name);
  nn::NamedTensors values = in.tensors;
  std::erase_if(values, [&](const auto& t) { return is_cotangent(t.first) || holds(known, t.first); });
  const nn::LoadReport report = module.load_state_dict(values, nn::Strict::no);
  check<IoError>(report.mismatched.empty(), "{}: {}", probe.file,
                 report.mismatched.empty() ? "" : report.mismatched.front());
  check<IoError>(probe.init || report.missing.empty(),
                 "{}: there is no tensor '{}', a parameter of {}; \"init\": true draws those that are missing",
                 probe.file, report.missing.empty() ? "" : report.missing.front(), probe.name);
  if (report.unexpected.empty()) return;
  for (const auto& [name, t] : module.parameters()) known.push_back(name);
  const std::string& name = report.unexpected.front();
  throw IoError(
      format("{}: '{}' is no parameter of {}; did you mean {}?", probe.file, name, probe.name, nearest(name, known)));
}

}  // namespace

data::Safetensors probe_module(const ProbeRequest& probe, const data::Safetensors& in) {
  const Device device = usable_device(probe.device);
  const std::vector<Input> inputs = inputs_of(probe);
  std::vector<Tensor> given = read_inputs(probe, in, inputs, device);
  const bool backward = has_cotangents(in);
  return probing([&] {
    check_floating("probe", inputs[0].name.c_str(), given[0]);
    const Dtype dtype = given[0].dtype() == Dtype::f64 ? Dtype::f64 : Dtype::f32;
    const Built built = build(probe, {.device = device, .dtype = dtype, .rng = &default_generator()});
    load_parameters(*built.module, inputs, probe, in);
    built.module->eval();
    for (Tensor& t : given)
      if (backward && t.defined() && is_floating(t.dtype())) t = t.clone().set_requires_grad();
    const RecordingGuard guard(backward);
    const Tensor y = built.call(given);
    data::Safetensors out{.tensors = {{"out", y.detach().to(Device::cpu())}}};
    if (!backward) return out;
    y.backward({.gradient = gather_cotangents(probe, in, {"out"}, {y})[0]});
    const auto report = [&](const std::string& name, const Tensor& t) {
      const Tensor gradient = t.grad().defined() ? t.grad() : zeros_like(t.detach());
      out.tensors.emplace_back("grad." + name, gradient.detach().to(given[0].dtype()).to(Device::cpu()));
    };
    for (size_t i = 0; i < inputs.size(); ++i)
      if (given[i].defined() && given[i].requires_grad()) report(inputs[i].name, given[i]);
    for (const auto& [name, p] : built.module->parameters()) report(name, p);
    return out;
  });
}

}  // namespace vitrine::apps
