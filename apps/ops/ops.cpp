#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "apps/cli.h"
#include "core/kernel_slot.h"
#include "tests/support/op_spec.h"

namespace vitrine::apps {
namespace {

using testing::OpSpec;

/// The kernel slots that the files of `folder` ("softmax" is ops/softmax, "core" is core) bind, for each kind of
/// device.
std::set<std::string> slots_of(const std::string& folder, DeviceType device) {
  const std::string path = folder == "core" ? "core/" : "ops/" + folder + "/";
  std::set<std::string> slots;
  for (const Binding& b : bindings())
    if (b.device == device && b.file.find(path) != std::string::npos) slots.insert(b.slot);
  return slots;
}

/// Whether this build runs the op on the device: every kernel of its folder is bound there. An op made of other ops
/// runs where the build has kernels at all.
bool runs_on(const OpSpec& spec, DeviceType device) {
  if (spec.composite)
    return std::any_of(bindings().begin(), bindings().end(), [&](const Binding& b) { return b.device == device; });
  std::set<std::string> all;
  for (const DeviceType type : {DeviceType::cpu, DeviceType::cuda, DeviceType::emulated})
    all.merge(slots_of(spec.folder, type));
  return slots_of(spec.folder, device) == all;
}

/// The dtypes of the tensors in an op's samples: what it is tested with, and takes.
std::set<Dtype> dtypes_of(const std::vector<testing::Sample>& samples) {
  std::set<Dtype> dtypes;
  for (const testing::Sample& s : samples)
    for (const Tensor& x : s.inputs) {
      if (!x.defined()) continue;
      if (is_floating(x.dtype())) {
        dtypes.insert(s.dtypes.begin(), s.dtypes.end());
      } else {
        dtypes.insert(x.dtype());
      }
    }
  return dtypes;
}

std::function<int()> setup(CLI::App& app) {
  const auto flags = std::make_shared<CommonFlags>();
  flags->add_to(app);
  return [flags] {
    flags->apply();
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    Table table({"op", "cpu", "cuda", "emulated", "samples", "dtypes", "composite"});
    const auto yes = [](bool b) { return b ? "yes" : "-"; };
    for (const OpSpec& spec : testing::op_specs()) {
      testing::Maker maker(flags->seed);
      const std::vector<testing::Sample> samples = spec.samples ? spec.samples(maker) : std::vector<testing::Sample>();
      std::vector<std::string> dtypes;
      std::string dtypes_text;
      for (const Dtype d : dtypes_of(samples)) {
        dtypes.push_back(to_string(d));
        dtypes_text += (dtypes_text.empty() ? "" : " ") + to_string(d);
      }
      const bool cpu = runs_on(spec, DeviceType::cpu), cuda = runs_on(spec, DeviceType::cuda),
                 emulated = runs_on(spec, DeviceType::emulated);
      list.push_back({{"name", spec.name},
                      {"cpu", cpu},
                      {"cuda", cuda},
                      {"emulated", emulated},
                      {"samples", samples.size()},
                      {"dtypes", dtypes},
                      {"composite", spec.composite}});
      table.add({spec.name, yes(cpu), yes(cuda), yes(emulated), std::to_string(samples.size()), dtypes_text,
                 yes(spec.composite)});
    }
    if (flags->json) {
      print_json(list);
    } else {
      std::cout << table.text();
    }
    return int(kDone);
  };
}

const RegisterCommand command({"ops", "Lists every op with its devices, dtypes and number of samples", setup});

}  // namespace
}  // namespace vitrine::apps
