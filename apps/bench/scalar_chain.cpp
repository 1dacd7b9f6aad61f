#include "apps/bench/scalar_chain.h"

#include <algorithm>

#include "apps/bench/machine.h"
#include "apps/bench/timing.h"
#include "core/allocator.h"
#include "core/autograd.h"
#include "core/backend.h"
#include "tests/support/op_spec.h"

namespace vitrine::apps {
namespace {

constexpr int kSteps = 500'000;
// x tends to b / (1 - a) = 1, slowly enough that every step matters to the gradients.
constexpr double kX = 0.5, kA = 1 - 0x1p-20, kB = 0x1p-20;

struct Result {
  double y, dx, da, db;
};

/// The op as a function of two tensors; empty if this build has none.
testing::OpSpec::Call binary_op(const std::string& name) {
  for (const testing::OpSpec& spec : testing::op_specs())
    if (spec.name == name) return spec.call;
  return {};
}

Result run_chain(Device device, bool backward) {
  const testing::OpSpec::Call mul = binary_op("mul"), add = binary_op("add");
  const RecordingGuard recorded(backward);
  Tensor leaves[3];
  const double values[] = {kX, kA, kB};
  for (int i = 0; i < 3; ++i)
    leaves[i] = scalar(values[i], {.dtype = Dtype::f32, .device = device}).set_requires_grad();
  Tensor x = leaves[0];
  for (int i = 0; i < kSteps; ++i) x = add({mul({x, leaves[1]}, {})[0], leaves[2]}, {})[0];
  if (!backward) return {x.item(), 0, 0, 0};
  x.backward();
  return {x.item(), leaves[0].grad().item(), leaves[1].grad().item(), leaves[2].grad().item()};
}

/// f32 rounds every one of a million steps, and both sides round alike: they must agree closely.
void compare(BenchRow& row, const Result& ours, const nlohmann::json& theirs, bool backward) {
  const std::pair<const char*, double> values[] = {{"y", ours.y}, {"dx", ours.dx}, {"da", ours.da}, {"db", ours.db}};
  row.check = "ok", row.difference = 0;
  for (const auto& [name, value] : values) {
    const double other = theirs[name];
    row.difference = std::max(row.difference, std::abs(value - other) / std::max(std::abs(other), 1e-30));
    if (!(row.difference <= 1e-3) && row.check == "ok")
      row.check = format("FAIL {}: {} against {}", name, value, other);
    if (!backward) break;
  }
}

BenchRow measure(const BenchOptions& options, bool backward) {
  BenchRow row;
  row.name = kScalarChain, row.sample = "1000000 ops", row.device = to_string(options.device), row.dtype = "f32";
  row.direction = backward ? "forward+backward" : "forward";
  row.load = wait_for_idle(options.idle_seconds);
  const Result ours = run_chain(options.device, backward);  // also the warm-up
  const auto ask_peer = [&] {
    return options.peer->ask({{"cmd", "chain"},
                              {"steps", kSteps},
                              {"x", kX},
                              {"a", kA},
                              {"b", kB},
                              {"backward", backward},
                              {"device", name_of(options.device.type)}});
  };
  if (options.peer) {
    row.peer = options.peer_name;
    compare(row, ours, ask_peer(), backward);
  }
  const bool compared = options.peer && row.check == "ok";
  const int64_t allocations = allocator(options.device).stats().system_allocations;
  std::vector<double> times, theirs, ratios;
  for (int round = 0; round < options.rounds; ++round) {
    const double start = now_ms();
    run_chain(options.device, backward);
    synchronize(options.device);
    times.push_back(now_ms() - start);
    if (!compared) continue;
    theirs.push_back(ask_peer()["ms"]);
    ratios.push_back(theirs.back() / times.back());
  }
  row.system_allocations = allocator(options.device).stats().system_allocations - allocations;
  row.ms = median(times);
  if (compared) {
    row.peer_ms = median(theirs);
    row.ratio = median(ratios);
    row.ratio_min = *std::min_element(ratios.begin(), ratios.end());
    row.ratio_max = *std::max_element(ratios.begin(), ratios.end());
  }
  return row;
}

}  // namespace

std::vector<BenchRow> bench_scalar_chain(const BenchOptions& options) {
  if (!binary_op("mul") || !binary_op("add")) return {};
  return {measure(options, false), measure(options, true)};
}

}  // namespace vitrine::apps
