#include "apps/bench/adamw.h"

#include <algorithm>
#include <cmath>

#include "apps/bench/race.h"
#include "apps/bench/timing.h"
#include "core/backend.h"
#include "ops/multi_tensor/multi_tensor.h"

namespace vitrine::apps {
namespace {

constexpr double kRate = 1e-3, kDecay = 0.05, kStart = 0.5, kGradient = 0.25;
constexpr int kCheckedSteps = 3;

/// The parameters of DeiT-S: tokens and patches, 12 blocks, the last norm and the head.
std::vector<Shape> deit_small_shapes() {
  constexpr int64_t c = 384;
  std::vector<Shape> shapes = {{1, 1, c}, {1, 197, c}, {c, 3, 16, 16}, {c}};
  for (int block = 0; block < 12; ++block)
    for (const Shape& s :
         {Shape{c}, {c}, {3 * c, c}, {3 * c}, {c, c}, {c}, {c}, {c}, {4 * c, c}, {4 * c}, {c, 4 * c}, {c}})
      shapes.push_back(s);
  shapes.insert(shapes.end(), {{c}, {c}, {1000, c}, {1000}});
  return shapes;
}

struct Optimizer {
  std::vector<Tensor> params, grads, exp_avg, exp_avg_sq;
  Tensor schedule, step;
  ops::MultiTensorCache cache;
  double count = 0;

  explicit Optimizer(Device device) {
    const TensorOptions f32{.dtype = Dtype::f32, .device = device}, f64{.dtype = Dtype::f64, .device = device};
    for (const Shape& s : deit_small_shapes()) {
      params.push_back(full(s, kStart, f32)), grads.push_back(full(s, kGradient, f32));
      exp_avg.push_back(zeros(s, f32)), exp_avg_sq.push_back(zeros(s, f32));
      count += double(s.numel());
    }
    schedule = from_vector({kRate, kDecay}, {1, 2}, f64);
    step = zeros({}, f64);
  }
  void run() {
    ops::adamw_({.params = params, .grads = grads, .exp_avg = exp_avg, .exp_avg_sq = exp_avg_sq}, schedule, step,
                {.cache = &cache});
  }
};

}  // namespace

std::vector<BenchRow> bench_adamw(const BenchOptions& options, Peaks& peaks) {
  BenchRow row;
  row.name = kAdamW, row.sample = "DeiT-S", row.device = to_string(options.device), row.dtype = "f32";
  row.direction = "forward";
  Optimizer optimizer(options.device);
  const bool queued = options.device.type == DeviceType::cuda;
  Sides sides;
  sides.ours = [&] {
    return time_calls([&] { optimizer.run(); }, [&] { synchronize(options.device); }, queued, options.budget_ms);
  };
  if (options.peer) {
    nlohmann::json shapes = nlohmann::json::array();
    for (const Shape& s : deit_small_shapes()) shapes.push_back(std::vector<int64_t>(s.begin(), s.end()));
    const nlohmann::json answer = options.peer->ask({{"cmd", "adamw"},
                                                     {"shapes", shapes},
                                                     {"start", kStart},
                                                     {"gradient", kGradient},
                                                     {"lr", kRate},
                                                     {"weight_decay", kDecay},
                                                     {"steps", kCheckedSteps},
                                                     {"device", name_of(options.device.type)}});
    for (int i = 0; i < kCheckedSteps; ++i) optimizer.run();
    const double ours = optimizer.params[0].to_vector()[0], theirs = answer["value"];
    row.peer = options.peer_name;
    row.difference = std::abs(ours - theirs) / std::abs(theirs);
    row.check = row.difference <= 1e-6 ? "ok" : format("FAIL parameter: {} against {}", ours, theirs);
    sides.peer = [&] {
      return options.peer->ask({{"cmd", "adamw_time"}, {"budget_ms", options.budget_ms}})["ms"].get<double>();
    };
  }
  race(options, sides, row);
  // Reads parameter, gradient and two moments, writes all but the gradient.
  row.gbytes_per_s = 7 * 4 * optimizer.count / (row.ms * 1e-3) * 1e-9;
  if (options.device == Device::cpu()) row.percent_of_dram = 100 * row.gbytes_per_s * 1e9 / peaks.dram();
  return {row};
}

}  // namespace vitrine::apps
