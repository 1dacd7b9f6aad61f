#include "apps/probe/probe_op.h"

#include <algorithm>
#include <iostream>

#include "core/autograd.h"
#include "tests/support/evaluate.h"
#include "tests/support/op_spec.h"

namespace vitrine::apps {
namespace {

using testing::Inputs;
using testing::OpSpec;
using testing::Outputs;

constexpr const char* kCotangent = "cotangent.";

bool contains(const std::vector<std::string>& list, const std::string& name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

const OpSpec& find_spec(const std::string& name) {
  std::vector<std::string> names;
  for (const OpSpec& spec : testing::op_specs())
    if (spec.call) names.push_back(spec.name);
  check<UsageError>(contains(names, name), "probe: unknown op '{}'; did you mean {}? See vitrine ops", name,
                    nearest(name, names));
  return testing::find_op_spec(name);
}

/// An attribute that no sample of the op uses is probably misspelt, and the op would silently take its default.
void warn_of_attributes(const OpSpec& spec, const Attributes& attributes) {
  std::vector<std::string> known;
  testing::Maker maker(0);
  for (const testing::Sample& sample : spec.samples(maker))
    if (const auto* used = std::get_if<Attributes>(&sample.how))
      for (const auto& [key, value] : *used)
        if (!contains(known, key)) known.push_back(key);
  for (const auto& [key, value] : attributes)
    if (!contains(known, key))
      std::cerr << format("vitrine: probe: no sample of {} has an attribute '{}'{}\n", spec.name, key,
                          known.empty() ? "" : "; did you mean " + nearest(key, known) + "?");
}

/// The op's arguments in order, on the device; undefined where none is given.
Inputs gather_inputs(const OpSpec& spec, const ProbeRequest& probe, const data::Safetensors& in, Device device) {
  for (const std::string& name : probe.inputs.value_or(std::vector<std::string>()))
    check<UsageError>(contains(spec.arguments, name), "probe: {} has no argument '{}'; did you mean {}?", spec.name,
                      name, nearest(name, spec.arguments));
  Inputs inputs;
  for (const std::string& name : spec.arguments) {
    const Tensor* given = in.find(name);
    const bool wanted = probe.inputs ? contains(*probe.inputs, name) : given != nullptr;
    check<IoError>(!wanted || given != nullptr, "{}: there is no tensor '{}', an input of {}", probe.file, name,
                   spec.name);
    inputs.push_back(wanted ? given->to(device) : Tensor());
  }
  // Later arguments may be absent, and the op says so if it needs them; none can do without its first.
  if (inputs.empty() || inputs[0].defined()) return inputs;
  check<UsageError>(!probe.inputs, "probe: {} needs its argument '{}'", spec.name, spec.arguments[0]);
  throw IoError(
      format("{}: there is no tensor '{}', the first argument of {}", probe.file, spec.arguments[0], spec.name));
}

}  // namespace

std::vector<Tensor> gather_cotangents(const ProbeRequest& probe, const data::Safetensors& in,
                                      const std::vector<std::string>& names, const std::vector<Tensor>& outputs) {
  Gradients cotangents(outputs.size());
  std::vector<std::string> valid;
  for (const std::string& name : names) valid.push_back(kCotangent + name);
  for (const auto& [key, c] : in.tensors) {
    if (!is_cotangent(key)) continue;
    const auto at = size_t(std::find(valid.begin(), valid.end(), key) - valid.begin());
    check<IoError>(at < valid.size(), "{}: '{}' belongs to no output of {}; did you mean {}?", probe.file, key,
                   probe.name, nearest(key, valid));
    const Tensor& y = outputs[at];
    check<IoError>(y.defined() && is_floating(y.dtype()), "{}: '{}': the output {} takes no cotangent", probe.file, key,
                   y);
    check<IoError>(c.shape() == y.shape() && c.dtype() == y.dtype(), "{}: '{}' is {}, but the output is {}", probe.file,
                   key, c, y);
    cotangents[at] = c.to(y.device());
  }
  return cotangents;
}

bool is_cotangent(const std::string& name) { return name.starts_with(kCotangent); }

bool has_cotangents(const data::Safetensors& in) {
  return std::any_of(in.tensors.begin(), in.tensors.end(), [](const auto& pair) { return is_cotangent(pair.first); });
}

data::Safetensors probe_op(const ProbeRequest& probe, const data::Safetensors& in) {
  const OpSpec& spec = find_spec(probe.name);
  const Device device = usable_device(probe.device);
  warn_of_attributes(spec, probe.attributes);
  Inputs inputs = gather_inputs(spec, probe, in, device);
  const bool backward = has_cotangents(in);
  for (size_t i = 0; i < inputs.size(); ++i)
    if (backward && testing::takes_gradient(spec, inputs, i)) inputs[i] = inputs[i].detach().set_requires_grad();

  const Outputs outputs = probing([&] { return spec.call(inputs, probe.attributes); });
  std::vector<std::string> names;
  for (size_t i = 0; i < outputs.size(); ++i) names.push_back(testing::result_name(spec, i, outputs.size()));
  data::Safetensors out;
  for (size_t i = 0; i < outputs.size(); ++i)
    if (outputs[i].defined()) out.tensors.emplace_back(names[i], outputs[i].detach().to(Device::cpu()));
  if (!backward) return out;

  const Gradients cotangents = gather_cotangents(probe, in, names, outputs);
  const Tensor root = testing::contract(outputs, cotangents);
  if (root.defined()) root.backward();
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!testing::takes_gradient(spec, inputs, i)) continue;
    const Tensor grad = inputs[i].grad();
    out.tensors.emplace_back("grad." + spec.arguments[i],
                             (grad.defined() ? grad : zeros_like(inputs[i])).to(Device::cpu()));
  }
  return out;
}

}  // namespace vitrine::apps
