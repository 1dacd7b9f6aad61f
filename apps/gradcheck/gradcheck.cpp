#include "tests/support/gradcheck.h"

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/cli.h"

namespace vitrine::apps {
namespace {

using testing::GradcheckResult;
using testing::OpSpec;

/// The specs named, all if none is. @throws UsageError with the nearest names
std::vector<const OpSpec*> select(const std::vector<std::string>& names) {
  std::vector<const OpSpec*> selected;
  std::vector<std::string> known;
  for (const OpSpec& spec : testing::op_specs()) known.push_back(spec.name);
  for (const std::string& name : names.empty() ? known : names) {
    check<UsageError>(std::find(known.begin(), known.end(), name) != known.end(),
                      "gradcheck: unknown op '{}'; did you mean {}? See vitrine ops", name, nearest(name, known));
    selected.push_back(&testing::find_op_spec(name));
  }
  return selected;
}

nlohmann::ordered_json to_json(const GradcheckResult& r) {
  nlohmann::ordered_json row = {{"op", r.op},
                                {"sample", r.sample},
                                {"device", to_string(r.device)},
                                {"max_error", r.max_error},
                                {"tolerance", r.tolerance},
                                {"passed", r.passed}};
  if (!r.passed) row["detail"] = r.detail;
  return row;
}

std::function<int()> setup(CLI::App& app) {
  struct Options : CommonFlags {
    std::vector<std::string> names;
  };
  const auto options = std::make_shared<Options>();
  options->add_to(app);
  app.add_option("op", options->names, "ops to check (default: all)");
  return [options] {
    options->apply();
    const Device device = options->device();
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    Table table({"op", "sample", "device", "max error", "tolerance", "passed"});
    int failed = 0;
    for (const OpSpec* spec : select(options->names)) {
      testing::Maker maker(options->seed);
      for (const testing::Sample& sample : spec->samples(maker)) {
        if (!sample.differentiable) continue;
        const GradcheckResult r = testing::gradcheck(*spec, sample, device);
        failed += !r.passed;
        list.push_back(to_json(r));
        char error[32], tolerance[32];
        snprintf(error, sizeof error, "%.2e", r.max_error);
        snprintf(tolerance, sizeof tolerance, "%.0e", r.tolerance);
        table.add({r.op, r.sample, to_string(r.device), error, tolerance, r.passed ? "yes" : "NO  " + r.detail});
      }
    }
    if (options->json) {
      print_json(list);
    } else {
      std::cout << table.text();
    }
    if (failed == 0) return int(kDone);
    std::cerr << format("vitrine: gradcheck: {} of {} samples failed", failed, list.size()) << std::endl;
    return int(kFailed);
  };
}

const RegisterCommand command({"gradcheck", "Compares the gradients of every sample of an op with finite differences",
                               setup});

}  // namespace
}  // namespace vitrine::apps
