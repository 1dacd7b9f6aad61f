#include "apps/bench/scalar_chain.h"

#include <algorithm>

#include "apps/bench/race.h"
#include "apps/bench/timing.h"
#include "core/autograd.h"
#include "core/backend.h"
#include "ops/binary/binary.h"

namespace vitrine::apps {
namespace {

constexpr int kSteps = 500'000;
// x tends to b / (1 - a) = 1, slowly enough that every step matters to the gradients.
constexpr double kX = 0.5, kA = 1 - 0x1p-20, kB = 0x1p-20;

struct Result {
  double y = 0, dx = 0, da = 0, db = 0;
};

Result run_chain(Device device, bool backward) {
  const RecordingGuard recorded(backward);
  Tensor leaves[3];
  const double values[] = {kX, kA, kB};
  for (int i = 0; i < 3; ++i)
    leaves[i] = scalar(values[i], {.dtype = Dtype::f32, .device = device}).set_requires_grad();
  Tensor x = leaves[0];
  for (int i = 0; i < kSteps; ++i) x = ops::add(ops::mul(x, leaves[1]), leaves[2]);
  if (backward) x.backward();
  Result r{.y = x.item()};
  if (backward) r.dx = leaves[0].grad().item(), r.da = leaves[1].grad().item(), r.db = leaves[2].grad().item();
  return r;
}

/// Both sides round every one of a million f32 steps, alike but not in the same order of sums.
void compare(BenchRow& row, const Result& ours, const nlohmann::json& theirs, bool backward) {
  constexpr double kAllowed = 1e-3;
  const std::pair<const char*, double> values[] = {{"y", ours.y}, {"dx", ours.dx}, {"da", ours.da}, {"db", ours.db}};
  row.check = "ok", row.difference = 0;
  for (const auto& [name, value] : values) {
    const double other = theirs[name], difference = std::abs(value - other) / std::max(std::abs(other), 1e-30);
    row.difference = std::max(row.difference, difference);
    if (!(difference <= kAllowed) && row.check == "ok")
      row.check = format("FAIL {}: {} against {}", name, value, other);
    if (!backward) break;
  }
}

BenchRow measure(const BenchOptions& options, bool backward) {
  BenchRow row;
  row.name = kScalarChain, row.sample = "1000000 ops", row.device = to_string(options.device), row.dtype = "f32";
  row.direction = backward ? "forward+backward" : "forward";
  const auto ask_peer = [&] {
    return options.peer->ask({{"cmd", "chain"},
                              {"steps", kSteps},
                              {"x", kX},
                              {"a", kA},
                              {"b", kB},
                              {"backward", backward},
                              {"device", name_of(options.device.type)}});
  };
  Sides sides;
  sides.ours = [&] {
    const double start = now_ms();
    run_chain(options.device, backward);
    synchronize(options.device);
    return now_ms() - start;
  };
  if (options.peer) {
    row.peer = options.peer_name;
    compare(row, run_chain(options.device, backward), ask_peer(), backward);
    sides.peer = [&] { return ask_peer()["ms"].get<double>(); };
  }
  race(options, sides, row);
  return row;
}

}  // namespace

std::vector<BenchRow> bench_scalar_chain(const BenchOptions& options) {
  return {measure(options, false), measure(options, true)};
}

}  // namespace vitrine::apps
